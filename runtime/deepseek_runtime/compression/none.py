"""Method `none`: everything dense in float32. Also how any method sends what must not be rounded."""

from deepseek_runtime.compression.coding import Codings, Kernels
from deepseek_runtime.compression.dense import Float32


def codings(kernels: Kernels) -> Codings:
    exact = Float32(kernels)
    return {"weights": exact, "small": exact, "buffers": exact}
