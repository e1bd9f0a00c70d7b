"""Dense float32 in one pass, where numpy needs several and a temporary. Imported by exact.py only."""

import numpy as np

from deepseek_runtime.compression.coding import F32
from deepseek_runtime.compression.jit import DOUBLE, FLOATS, FLOATS_IN, summing


@summing(DOUBLE, FLOATS_IN, FLOATS)
def copy_sum(values: F32, target: F32) -> float:
    """target = values; the sum of |values|, finite only if each of them is: float32 cannot overflow a float64."""
    total = 0.0
    for i in range(target.size):
        target[i] = values[i]
        total += np.float64(abs(values[i]))
    return total
