"""A span's values to a payload and back: the frame around the codings of the span's runs.

A payload is a header of 4 bytes (form, Rice parameter, values kept of a full chunk), then each run in order. It
says by itself how it is to be read, so a dense one can come where sparse ones are usual.
"""

import logging
import struct
from collections.abc import Sequence
from functools import cache
from typing import Final, Literal, Protocol

import numpy as np

from deepseek_runtime.compression import none, plain, topk
from deepseek_runtime.compression.coding import F32, U8, Codings, Kernels
from deepseek_runtime.compression.errors import NonFinite, PayloadError
from deepseek_runtime.space import CHUNK, Run

_log = logging.getLogger(__name__)

Buffer = bytes | bytearray | memoryview

HEADER: Final = struct.Struct("<BBH")
DENSE: Final = 0x10
"""Form: the version of the format in the upper half, the method in the lower."""
SPARSE: Final[dict[int, int]] = {2: 0x12, 16: 0x13, 32: 0x14}
"""Form of Top-K by value_bits."""
VALUE_BITS: Final = {form: bits for bits, form in SPARSE.items()}


class Settings(Protocol):
    """What contract.config.Compression says."""

    @property
    def method(self) -> Literal["none", "topk"]: ...

    @property
    def ratio(self) -> float: ...

    @property
    def value_bits(self) -> Literal[2, 16, 32]: ...


def codec_for(runs: Sequence[Run], settings: Settings, *, fast: bool = True, chunk: int = CHUNK) -> "SpanCodec":
    """The codec of a span with these runs. fast: the numba kernels, imported when first used (or by `load`)."""
    return SpanCodec(runs, settings, fast=fast, chunk=chunk)


@cache
def load() -> Kernels:
    """Imports the numba kernels: 0.5 s, half a minute where they were never compiled (warm.py does that).

    Where numba cannot be imported the numpy kernels do the same, about 20 times slower, and a warning says so.
    """
    try:
        from deepseek_runtime.compression import fast
    except ImportError as error:
        _log.warning("compression runs in plain numpy, about 20 times slower: %s", error)
        return plain
    return fast


class SpanCodec:
    """Encodes and decodes the values of one span. Keeps no state: safe from several threads.

    size: elements of the span with its padding, which is zero and not sent.
    """

    def __init__(self, runs: Sequence[Run], settings: Settings, *, fast: bool = True, chunk: int = CHUNK) -> None:
        stop = runs[-1].stop if runs else 0
        self.runs: Final = tuple(runs)
        self.size: Final = stop + -stop % chunk
        self._chunk = chunk
        self._fast = fast
        self._settings = settings

    def encode(self, values: F32, residual: F32) -> bytes:
        """The payload of `values` [size]; residual[:] = values - decoded payload (it may be `values` itself).

        Raises NonFinite, before anything is written, if a value is not finite.
        """
        kernels = self._checked(values)
        self._require_shape(residual, "residual")
        header, codings = self._encoding(kernels)
        parts = [header]
        at = 0
        for run in self.runs:
            residual[at : run.start] = values[at : run.start]
            parts.append(codings[run.kind].encode(values[run.start : run.stop], residual[run.start : run.stop]))
            at = run.stop
        residual[at:] = values[at:]
        return b"".join(parts)

    def encode_dense(self, values: F32) -> bytes:
        """All values in float32, exactly. Raises NonFinite."""
        self._checked(values)
        pieces = [values[run.start : run.stop].astype("<f4", copy=False).data for run in self.runs]
        return b"".join([HEADER.pack(DENSE, 0, 0), *pieces])

    def add(self, payload: Buffer, target: F32, scale: float = 1.0) -> None:
        """target += scale * decoded payload, element by element in float32 (the product is rounded, then the sum).

        Raises PayloadError, before the target is touched, if the payload is not one of this span.
        """
        self._require_shape(target, "target")
        kernels = self._kernels()
        data: U8 = np.frombuffer(payload, np.uint8)
        codings = self._decoding(data, kernels)
        at = HEADER.size
        for run in self.runs:
            at = codings[run.kind].check(data, at, run.stop - run.start)
        if at != data.size:
            raise PayloadError(f"{data.size - at} bytes follow the end of the last run")
        at = HEADER.size
        for run in self.runs:
            at = codings[run.kind].add(data, at, target[run.start : run.stop], np.float32(scale))

    def decode(self, payload: Buffer) -> F32:
        """The decoded payload [size], padding zero. Raises PayloadError."""
        values = np.zeros(self.size, np.float32)
        self.add(payload, values)
        return values

    def _encoding(self, kernels: Kernels) -> tuple[bytes, Codings]:
        settings = self._settings
        if settings.method == "none":
            return HEADER.pack(DENSE, 0, 0), none.codings(kernels)
        kept = topk.keep(settings.ratio, self._chunk)
        rice = topk.rice_parameter(kept, self._chunk)
        header = HEADER.pack(SPARSE[settings.value_bits], rice, kept)
        return header, topk.codings(kernels, self._chunk, kept, rice, settings.value_bits, settings.ratio)

    def _decoding(self, data: U8, kernels: Kernels) -> Codings:
        if data.size < HEADER.size:
            raise PayloadError(f"{data.size} bytes are no payload")
        form, rice, kept = HEADER.unpack(data[: HEADER.size].tobytes())
        if form == DENSE:
            if rice or kept:
                raise PayloadError("a dense payload with sparse parameters")
            return none.codings(kernels)
        if form not in VALUE_BITS:
            raise PayloadError(f"unknown form {form:#04x}: made by another version, or damaged")
        if rice >= 12 or not 1 <= kept <= self._chunk:
            raise PayloadError(f"{kept} values of {self._chunk} with {rice} low bits is no Top-K")
        return topk.codings(kernels, self._chunk, kept, rice, VALUE_BITS[form])

    def _kernels(self) -> Kernels:
        return load() if self._fast else plain

    def _checked(self, values: F32) -> Kernels:
        self._require_shape(values, "values")
        kernels = self._kernels()
        if not kernels.finite(values):
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise NonFinite(f"element {at} of the span is {values[at]}")
        return kernels

    def _require_shape(self, array: F32, name: str) -> None:
        if array.dtype != np.float32 or array.shape != (self.size,) or not array.flags.c_contiguous:
            raise ValueError(f"{name} must be {self.size} contiguous float32 elements, got {array.dtype} {array.shape}")
