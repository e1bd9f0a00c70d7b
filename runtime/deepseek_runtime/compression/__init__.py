"""What travels between workers and servers instead of dense float32: docs/formats/payload.md.

codec.py         SpanCodec: a span's values to a payload and back; the only thing others use
none.py topk.py  methods, one a file: which coding each kind of segment gets
dense.py         float32 and bfloat16 as they are
packing.py topk_numpy.py plain.py   Top-K in numpy: what the payload means
kernels.py fast.py jit.py           all of it in numba: the same bytes, 20 to 50 times sooner
warm.py          compiles and caches these kernels when an image or environment is made

Residuals: `encode` leaves values - decoded in the array that it is given. When a worker may keep that is decided by
protocol/pusher.py; a server's is theta - p, in protocol/span.py.

Importing this package imports no numba: a server registers first, then calls `load()` (or encodes).
"""

from deepseek_runtime.compression.codec import SpanCodec, codec_for, load
from deepseek_runtime.compression.errors import NonFinite, PayloadError

__all__ = ["NonFinite", "PayloadError", "SpanCodec", "codec_for", "load"]
