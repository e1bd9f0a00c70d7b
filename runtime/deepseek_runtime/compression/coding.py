"""How a piece of a span becomes bytes: what every method can do, and the inner loops that it is made of.

A method is a file with an encoder and a decoder; methods.py lists them. Kernels are the inner loops, once in numpy
(plain.py: what the bytes mean) and once in numba (fast.py: the same bytes, soon).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Cut:
    """One threshold for several pieces (global Top-K): what is sent of one of them.

    threshold: bits of the least magnitude sent, above 0; ties: how many of this piece's that equal it, lower index
    first.
    """

    threshold: int
    ties: int


@dataclass(frozen=True, slots=True)
class How:
    """What one push does otherwise than the settings say. ratio: of Top-K; cut: instead of a selection by chunks."""

    ratio: float | None = None
    cut: Cut | None = None


AS_SET = How()


class Encoder(Protocol):
    """One piece of a span."""

    def encode(self, values: F32, plus: F32 | None, residual: F32, how: How) -> bytes:
        """Header and body for values + plus [n]; residual[:] = that sum - decoded (it may be `values` itself).

        Raises NonFinite with the index of an element whose sum is not finite; `residual` is void then.
        """
        ...


class Decoder(Protocol):
    """The body of one piece, behind its header. `data` is the whole payload, `offset` where the body begins in it."""

    def check(self, data: U8, offset: int, size: int) -> int:
        """Where the body of `size` elements ends. Raises PayloadError if it cannot be decoded to finite values."""
        ...

    def add(self, data: U8, offset: int, target: F32, scale: np.float32) -> int:
        """target += scale * decoded for a checked body; returns where it ends."""
        ...


class DenseKernels(Protocol):
    """Inner loops over dense pieces; dense.py has them in numpy, fast.py in numba."""

    def total(self, values: F32, plus: F32 | None, residual: F32) -> int:
        """residual = values + plus; returns the index of an element that is not finite, -1 if all are."""
        ...

    def check_float32(self, data: U8, offset: int, size: int) -> bool: ...

    def add_float32(self, data: U8, offset: int, target: F32, scale: np.float32) -> None: ...

    def encode_bfloat16(self, residual: F32) -> bytes:
        """For finite values in `residual`, which keeps what rounding took."""
        ...

    def check_bfloat16(self, data: U8, offset: int, size: int) -> bool: ...

    def add_bfloat16(self, data: U8, offset: int, target: F32, scale: np.float32) -> None: ...


class QuantisedKernels(Protocol):
    """Inner loops of the quantisers; quantised_numpy.py has them in numpy, fast.py in numba."""

    def encode_quantised(self, residual: F32, value_bits: int) -> bytes:
        """For finite values in `residual`, which keeps the difference to what is sent."""
        ...

    def check_quantised(self, data: U8, offset: int, size: int, value_bits: int) -> bool: ...

    def add_quantised(self, data: U8, offset: int, target: F32, scale: np.float32, value_bits: int) -> None: ...


class TopKKernels(Protocol):
    """Inner loops of Top-K; topk_numpy.py has them in numpy, fast.py in numba.

    chunk: elements a chunk; kept: values sent of a full chunk, kept_last: of the piece's last; rices: Rice parameter
    of gaps, by a chunk's count; value_bits: see form.VALUE_BITS; vary: -1, or the Rice parameter of counts.
    """

    def encode_topk(
        self,
        values: F32,
        plus: F32 | None,
        residual: F32,
        chunk: int,
        kept: int,
        kept_last: int,
        rices: I64,
        value_bits: int,
        vary: int,
        cut: Cut | None,
    ) -> bytes: ...

    def check_topk(
        self, data: U8, offset: int, size: int, chunk: int, kept: int, rices: I64, value_bits: int, vary: int
    ) -> int:
        """Where the body ends, or -1 if it is malformed."""
        ...

    def add_topk(
        self,
        data: U8,
        offset: int,
        target: F32,
        scale: np.float32,
        chunk: int,
        kept: int,
        rices: I64,
        value_bits: int,
        vary: int,
    ) -> int: ...


class Kernels(DenseKernels, QuantisedKernels, TopKKernels, Protocol):
    """One implementation of everything."""


Load = Callable[[], Kernels]
"""Gives the kernels when they are first needed: numba is imported late."""
