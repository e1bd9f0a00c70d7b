"""What travels between workers and servers instead of dense float32: docs/formats/payload.md.

codec.py         SpanCodec: a span's values to a payload and back; the only thing others use
pieces.py        which part of a span is compressed how: kinds, rules over tensors' names
methods.py       the methods by name, the forms by number; a method is a file: none topk quantised lowrank
form.py header.py coding.py
                 the payload in numbers; what stands before a piece; what methods and kernels can do
dense.py packing.py topk_numpy.py topk_numpy_decode.py quantised_numpy.py plain.py
                 all of it in numpy: what the payload means
kernels.py topk_encode.py topk_decode.py masks.py fast.py jit.py
                 all of it in numba: the same bytes, 20 to 50 times sooner
momentum.py      what Deep Gradient Compression does before it: momentum at the worker, one threshold, its warm-up
warm.py          compiles and caches these kernels when an image or environment is made

Residuals: `encode` adds what is owed, and leaves the sum - decoded in the array that it is given. When a worker may
keep that is decided by protocol/pushing.py; a server's is theta - p, in protocol/span.py.

Importing this package imports no numba: a server registers first, then calls `load()` (or encodes).
"""

from deepseek_runtime.compression.codec import SpanCodec, codec_for, load
from deepseek_runtime.compression.errors import NonFinite, PayloadError
from deepseek_runtime.compression.pieces import tensors_of

__all__ = ["NonFinite", "PayloadError", "SpanCodec", "codec_for", "load", "tensors_of"]
