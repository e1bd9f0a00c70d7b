"""Compiles the kernels and caches them: `python -m deepseek_runtime.compression.warm`.

Run when an image or an environment is made, so that no member waits for the compiler. Exit code 1, with a message,
if nothing could be cached.
"""

import sys
import time

from deepseek_runtime.compression import plain
from deepseek_runtime.compression.codec import load


def main() -> int:
    began = time.perf_counter()
    if load() is plain:
        sys.stderr.write("numba cannot be imported: nothing to compile\n")
        return 1
    from deepseek_runtime.compression.jit import cache_folder

    folder = cache_folder()
    if folder is None:
        sys.stderr.write("no folder for compiled kernels can be written: set NUMBA_CACHE_DIR to one\n")
        return 1
    sys.stdout.write(f"kernels are ready after {time.perf_counter() - began:.1f} s, cached in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
