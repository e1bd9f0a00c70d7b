"""Values as they are: a dense payload made, and taken, with one pass over memory.

The same bytes as SpanCodec makes of them. These are the payloads that are as large as the model, so what is done with
them is bound by memory: every further pass costs as much as the wire.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from deepseek_runtime.compression.coding import F32
from deepseek_runtime.compression.errors import NonFinite
from deepseek_runtime.compression.pieces import Piece

_log = logging.getLogger(__name__)
_ITEM = 4


def payload_of(header: bytes, pieces: Sequence[Piece], values: F32, fast: bool = True) -> tuple[memoryview, float]:
    """Header and values of each piece in one read-only buffer, and the sum of |values| of all. Raises NonFinite.

    header: as many bytes as whole float32, so that the values behind it are aligned.
    """
    copy = _copy() if fast and sys.byteorder == "little" else _plain_copy
    data = np.empty(sum(len(header) + _ITEM * piece.size for piece in pieces), np.uint8)
    at, total = 0, 0.0
    for piece in pieces:
        begin = at + len(header)
        data[at:begin] = np.frombuffer(header, np.uint8)
        at = begin + _ITEM * piece.size
        here = copy(values[piece.start : piece.stop], data[begin:at].view("<f4"))
        if not np.isfinite(here):
            index = piece.start + int(np.flatnonzero(~np.isfinite(values[piece.start : piece.stop]))[0])
            raise NonFinite(index, f"element {index} of the span is not finite")
        total += here
    return data.data.toreadonly(), total


def _plain_copy(values: F32, target: F32) -> float:
    target[:] = values
    return float(np.abs(values).sum(dtype=np.float64))


@cache
def _copy() -> Callable[[F32, F32], float]:
    try:
        from deepseek_runtime.compression.exact_kernels import copy_sum
    except ImportError as error:
        _log.warning("dense values are copied by plain numpy: %s", error)
        return _plain_copy
    return copy_sum
