"""Method `topk`: of each chunk of the weights the largest few values, the rest stays in the residual.

Per chunk of 4,096 the k values of largest magnitude (the lower index first among equals; zeros are never sent),
as Rice-coded gaps between their positions and, by `value_bits`,

    32  float32, exact
    16  bfloat16: float32's range, so it needs no scale; its rounding error goes into the residual, where a finer
        format would gain nothing
     2  a sign and one of two magnitudes, the means of the larger and of the smaller half of the chunk's kept
        magnitudes ("statistical" 2 bits of MuLoCo, 2505.23725: linear levels are measurably worse), in bfloat16

(SparseLoCo, 2508.15706; chunks, k and the measurements: docs/architecture). Small tensors go as dense bfloat16,
buffers as float32.
"""

from dataclasses import dataclass

import numpy as np

from deepseek_runtime.compression.coding import F32, U8, Codings, Kernels, TopKKernels
from deepseek_runtime.compression.dense import BFloat16, Float32
from deepseek_runtime.compression.errors import PayloadError


@dataclass(frozen=True, slots=True)
class TopK:
    """chunk, value_bits, kept (of a full chunk) and rice are as in the payload's header.

    ratio: what an encoder keeps of a last, shorter chunk; a decoder reads the counts.
    """

    kernels: TopKKernels
    chunk: int
    kept: int
    rice: int
    value_bits: int
    ratio: float = 1.0

    def encode(self, values: F32, residual: F32) -> bytes:
        last = values.size % self.chunk or self.chunk
        kept_last = keep(self.ratio, last)
        return self.kernels.encode_topk(values, residual, self.chunk, self.kept, kept_last, self.rice, self.value_bits)

    def check(self, data: U8, offset: int, size: int) -> int:
        end = self.kernels.check_topk(data, offset, size, self.chunk, self.kept, self.rice, self.value_bits)
        if end < 0:
            raise PayloadError("cut short or damaged: a chunk of sparse values cannot be read")
        return end

    def add(self, data: U8, offset: int, target: F32, scale: np.float32) -> int:
        return self.kernels.add_topk(data, offset, target, scale, self.chunk, self.kept, self.rice, self.value_bits)


def codings(kernels: Kernels, chunk: int, kept: int, rice: int, value_bits: int, ratio: float = 1.0) -> Codings:
    return {
        "weights": TopK(kernels, chunk, kept, rice, value_bits, ratio),
        "small": BFloat16(kernels),
        "buffers": Float32(kernels),
    }


def keep(ratio: float, elements: int) -> int:
    """How many of a chunk's elements are sent."""
    return max(1, round(ratio * elements))


def rice_parameter(kept: int, chunk: int) -> int:
    """The b that makes Rice codes of the gaps shortest, if `kept` of `chunk` positions are drawn at random.

    A gap is then geometric with p = kept / chunk and costs b + 1 / (1 - (1 - p) ** 2 ** b) bits: at 5 % 5.79
    against an entropy of 5.73.
    """
    miss = 1 - kept / chunk
    return min(range(12), key=lambda bits: bits + 1 / (1 - miss ** (1 << bits)))
