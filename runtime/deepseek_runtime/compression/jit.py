"""How kernels are compiled: for fixed types, without the GIL, cached on disk where a folder can be written."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit, types  # type: ignore[import-untyped, unused-ignore]

from deepseek_runtime.contract.names import ENV_KERNELS

Function = TypeVar("Function", bound=Callable[..., Any])
_log = logging.getLogger(__name__)
_folders: set[str] = set()

FLOATS_IN = types.Array(types.float32, 1, "C", readonly=True, aligned=False)
HALVES_IN = types.Array(types.uint16, 1, "C", readonly=True, aligned=False)
WORDS_IN = types.Array(types.uint64, 1, "C", readonly=True)
FLOATS = types.float32[::1]
HALVES = types.uint16[::1]
WORDS = types.uint64[::1]
INTS_IN = types.Array(types.int64, 1, "C", readonly=True)
BYTES = types.uint8[::1]
BYTES_IN = types.Array(types.uint8, 1, "C", readonly=True, aligned=False)
INT = types.int64
FLOAT = types.float32
DOUBLE = types.float64
BOOL = types.boolean
NOTHING = types.void


def seed(compiled: str, cache: str) -> bool:
    """Copies kernels that were compiled when an image was made into the cache of this pod, which begins empty.

    An image's own folders cannot be written in a pod, and numba reads no cache that it cannot write.
    """
    source, target = Path(compiled), Path(cache)
    if not compiled or not cache or not source.is_dir() or (target.is_dir() and any(target.iterdir())):
        return False
    try:
        shutil.copytree(source, target, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        _log.warning("compiled kernels cannot be copied, starts take longer: %s", error)
        return False
    return True


seed(os.environ.get(ENV_KERNELS, ""), os.environ.get("NUMBA_CACHE_DIR", ""))


def kernel(result: Any, *arguments: Any) -> Callable[[Function], Function]:
    """Compiles (or loads from the cache) for these types when the module is imported."""
    return lambda function: _compile(function, [result(*arguments)])


def summing(result: Any, *arguments: Any) -> Callable[[Function], Function]:
    """Like `kernel`, for sums whose order does not matter: without this they are not done by vector instructions.

    Not numbers and infinities count as always.
    """
    return lambda function: _compile(function, [result(*arguments)], fastmath={"reassoc", "nsz", "contract"})


def inner(function: Function) -> Function:
    """A piece of a kernel in the same file, compiled into it (in another one, numba's cache would miss changes)."""
    return _compile(function, None)


def cache_folder() -> str | None:
    """Where the kernels compiled so far are cached; None if no folder can be written."""
    return min(_folders, default=None)


def _compile(function: Function, signatures: Any, **more: Any) -> Function:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", **more}
    try:
        compiled = njit(signatures, cache=True, **options)(function)
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
        _log.warning("no folder for compiled kernels can be written: set NUMBA_CACHE_DIR to one; starts take longer")
        return cast(Function, njit(signatures, **options)(function))
    _folders.add(compiled.stats.cache_path)
    return cast(Function, compiled)
