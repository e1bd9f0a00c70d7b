"""A span's values to a payload and back: the frame around the methods of its pieces.

A payload is the pieces in order (pieces.py says how a span is cut), each a header of 4 bytes and a body.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import Final

import numpy as np

from deepseek_runtime.compression import exact, methods, plain
from deepseek_runtime.compression.coding import AS_SET, F32, U8, Decoder, How, Kernels
from deepseek_runtime.compression.dense import FLOAT32, Float32
from deepseek_runtime.compression.errors import NonFinite, PayloadError
from deepseek_runtime.compression.header import HEADER, Header
from deepseek_runtime.compression.pieces import EXACT, Chosen, Piece, Settings, Tensor, pieces_of
from deepseek_runtime.space import CHUNK, Run

_log = logging.getLogger(__name__)

Buffer = bytes | bytearray | memoryview


def codec_for(
    runs: Sequence[Run],
    settings: Settings,
    tensors: Sequence[Tensor] = (),
    *,
    fast: bool = True,
    chunk: int = CHUNK,
) -> "SpanCodec":
    """The codec of a span with these runs. tensors: those in it (pieces.tensors_of), for rules and matrices.

    fast: the numba kernels, imported when first used (or by `load`).
    """
    return SpanCodec(runs, pieces_of(runs, settings, tensors), fast=fast, chunk=chunk)


@cache
def load() -> Kernels:
    """Imports the numba kernels: 0.5 s, a minute where they were never compiled (warm.py does that).

    Where numba cannot be imported the numpy kernels do the same, about 20 times slower, and a warning says so.
    """
    try:
        from deepseek_runtime.compression import fast
    except ImportError as error:
        _log.warning("compression runs in plain numpy, about 20 times slower: %s", error)
        return plain
    return fast


class SpanCodec:
    """Encodes and decodes the values of one span. `encode` from one thread at a time (low rank remembers its last
    factors); the rest keeps no state.

    size: elements of the span with its padding, which is not sent.
    """

    def __init__(self, runs: Sequence[Run], pieces: Sequence[Piece], *, fast: bool = True, chunk: int = CHUNK) -> None:
        stop = runs[-1].stop if runs else 0
        self.runs: Final = tuple(runs)
        self.pieces: Final = tuple(pieces)
        self.size: Final = stop + -stop % chunk
        self._chunk = chunk
        self._load = load if fast else _plain
        self._encoders = [methods.encoder(piece, self._load, chunk) for piece in pieces]

    @cached_property
    def precise(self) -> "SpanCodec":
        """Of the same pieces and positions, with values that are not rounded: whatever decodes the one decodes the
        other, for a payload says by itself how it is made."""
        pieces = [replace(piece, method=_unrounded(piece.method)) for piece in self.pieces]
        return SpanCodec(self.runs, pieces, fast=self._load is load, chunk=self._chunk)

    def encode(self, values: F32, residual: F32, plus: F32 | None = None, how: How | Sequence[How] = AS_SET) -> bytes:
        """The payload of values + plus [size each]; residual[:] = that sum - decoded (it may be `values` itself).

        how: of every piece, or one for each. Raises NonFinite if an element of the sum is not finite; what stands in
        `residual` is void then.
        """
        for array, name in ((values, "values"), (residual, "residual"), (plus, "plus")):
            if array is not None:
                self._require_shape(array, name)
        hows = [how] * len(self.pieces) if isinstance(how, How) else how
        parts = []
        at = 0
        for piece, encoder, one in zip(self.pieces, self._encoders, hows, strict=True):
            self._pass_on(values, residual, plus, at, piece.start)
            here = slice(piece.start, piece.stop)
            owed = plus[here] if plus is not None else None
            try:
                parts.append(encoder.encode(values[here], owed, residual[here], one))
            except NonFinite as error:
                index = piece.start + error.index
                raise NonFinite(index, f"element {index} of the span is not finite") from None
            at = piece.stop
        self._pass_on(values, residual, plus, at, self.size)
        return b"".join(parts)

    @property
    def exact(self) -> bool:
        """Whether `encode` sends all values as they are, so that a residual is zero: as `encode_dense` does."""
        return all(piece.method.method == "none" for piece in self.pieces)

    def encode_dense(self, values: F32) -> memoryview:
        """All values in float32, exactly. Raises NonFinite."""
        return self.encode_summed(values)[0]

    def encode_summed(self, values: F32) -> tuple[memoryview, float]:
        """`encode_dense`, and the sum of |values|. Raises NonFinite."""
        self._require_shape(values, "values")
        return exact.payload_of(Header(FLOAT32).pack(), self.pieces, values, self._load is load)

    def add(self, payload: Buffer, target: F32, scale: float = 1.0) -> None:
        """target += scale * decoded payload, element by element in float32 (the product is rounded, then the sum).

        Raises PayloadError, before the target is touched, if the payload is not one of this span.
        """
        self._require_shape(target, "target")
        data: U8 = np.frombuffer(payload, np.uint8)
        decoders = self._checked(data)
        at = 0
        for piece, decoder in zip(self.pieces, decoders, strict=True):
            at = decoder.add(data, at + HEADER.size, target[piece.start : piece.stop], np.float32(scale))

    def put(self, payload: Buffer, target: F32) -> None:
        """target = decoded payload, its padding left as it is. Raises PayloadError, with the target untouched."""
        self._require_shape(target, "target")
        data: U8 = np.frombuffer(payload, np.uint8)
        decoders = self._checked(data)
        at = 0
        for piece, decoder in zip(self.pieces, decoders, strict=True):
            here, at = target[piece.start : piece.stop], at + HEADER.size
            if isinstance(decoder, Float32):
                end = at + 4 * piece.size
                here[:] = data[at:end].view("<f4")
                at = end
            else:
                here[:] = 0
                at = decoder.add(data, at, here, np.float32(1))

    def decode(self, payload: Buffer) -> F32:
        """The decoded payload [size], padding zero. Raises PayloadError."""
        values = np.zeros(self.size, np.float32)
        self.add(payload, values)
        return values

    def _checked(self, data: U8) -> list[Decoder]:
        """What reads each piece. Raises PayloadError if the payload is not one of this span."""
        decoders: list[Decoder] = []
        at = 0
        for piece in self.pieces:
            decoder = methods.decoder(piece, Header.read(data, at), self._load, self._chunk)
            at = decoder.check(data, at + HEADER.size, piece.size)
            decoders.append(decoder)
        if at != data.size:
            raise PayloadError(f"{data.size - at} bytes follow the end of the last piece")
        return decoders

    @staticmethod
    def _pass_on(values: F32, residual: F32, plus: F32 | None, start: int, stop: int) -> None:
        """Padding: nothing of it is sent."""
        if start < stop:
            residual[start:stop] = values[start:stop] if plus is None else values[start:stop] + plus[start:stop]

    def _require_shape(self, array: F32, name: str) -> None:
        if array.dtype != np.float32 or array.shape != (self.size,) or not array.flags.c_contiguous:
            raise ValueError(f"{name} must be {self.size} contiguous float32 elements, got {array.dtype} {array.shape}")


def _unrounded(method: Chosen) -> Chosen:
    return replace(method, value_bits=32) if method.method in ("topk", "dgc") else EXACT


def _plain() -> Kernels:
    return plain
