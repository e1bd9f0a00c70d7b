"""Freed memory is kept by this process instead of being given back to the system and faulted in anew.

Payloads and ZeroMQ's chunks are allocated and freed by the megabyte. With glibc's defaults each comes in fresh pages:
half of all page faults of a round of push and pull, and four times the time of the copy that makes a payload.
"""

import ctypes
import sys
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_KEPT: Final = 256 << 20
"""Bytes that may stay free at the end of the heap."""
_LARGEST: Final = 32 << 20
"""Bytes up to which an allocation comes from the heap: the most that glibc allows."""


def keep_freed_memory() -> None:
    """Of the whole process, at its start. Nothing on systems without glibc's mallopt."""
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST)
    mallopt(_TRIM_THRESHOLD, _KEPT)
