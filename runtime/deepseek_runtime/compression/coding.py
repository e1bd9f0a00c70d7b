"""How one run of values becomes bytes: what every coding can do, and what chooses among codings."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from deepseek_runtime.space import Kind

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]


class Coding(Protocol):
    """One run. `data` is the whole payload, `offset` where the run's bytes begin in it."""

    def encode(self, values: F32, residual: F32) -> bytes:
        """The run's bytes for finite values [n]; residual[:] = values - decoded (may be the same array)."""
        ...

    def check(self, data: U8, offset: int, size: int) -> int:
        """Where the run of `size` elements ends. Raises PayloadError if it cannot be decoded to finite values."""
        ...

    def add(self, data: U8, offset: int, target: F32, scale: np.float32) -> int:
        """target += scale * decoded for a checked run; returns where the run ends."""
        ...


Codings = Mapping[Kind, Coding]


class DenseKernels(Protocol):
    """Inner loops over dense runs; dense.py has them in numpy, fast.py in numba."""

    def finite(self, values: F32) -> bool: ...

    def check_float32(self, data: U8, offset: int, size: int) -> bool: ...

    def add_float32(self, data: U8, offset: int, target: F32, scale: np.float32) -> None: ...

    def encode_bfloat16(self, values: F32, residual: F32) -> bytes: ...

    def check_bfloat16(self, data: U8, offset: int, size: int) -> bool: ...

    def add_bfloat16(self, data: U8, offset: int, target: F32, scale: np.float32) -> None: ...


class TopKKernels(Protocol):
    """Inner loops of Top-K; topk_numpy.py has them in numpy, fast.py in numba.

    chunk: elements a chunk; kept: values sent of a full chunk, kept_last: of the run's last; rice: bits of a gap
    that are sent as they are; value_bits: 2, 16 or 32.
    """

    def encode_topk(
        self, values: F32, residual: F32, chunk: int, kept: int, kept_last: int, rice: int, value_bits: int
    ) -> bytes: ...

    def check_topk(self, data: U8, offset: int, size: int, chunk: int, kept: int, rice: int, value_bits: int) -> int:
        """Where the run ends, or -1 if it is malformed."""
        ...

    def add_topk(
        self, data: U8, offset: int, target: F32, scale: np.float32, chunk: int, kept: int, rice: int, value_bits: int
    ) -> int: ...


class Kernels(DenseKernels, TopKKernels, Protocol):
    """One implementation of everything."""
