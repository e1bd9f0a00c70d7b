"""Arrays that others may read, copied when they are about to change: only if somebody still has them."""

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def held_elsewhere(array: Array, own: int) -> bool:
    """Whether anybody has the array, or a view of it, beside the `own` references of its owner, who asks.

    A view counts because it holds its base. Another thread may let go at any moment, but none can take hold.
    """
    return _count(array) > own + _CALL


def _count(array: Array) -> int:
    return sys.getrefcount(array)


def _through(array: Array) -> int:
    return _count(array)  # as `held_elsewhere` calls it


_PROBE: list[Array] = [np.zeros(1)]
_CALL = _through(_PROBE[0]) - 1
"""References that the calls have themselves, which differs by version of the interpreter: all but the list's."""
