"""Tensors by name as the vectors of a parameter space, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek_runtime.space import F32, I64, IntegerBuffer, Segment, Space

Array = npt.NDArray[Any]


def vector_of(space: Space, arrays: Mapping[str, Array]) -> F32:
    """The float tensors as one vector [space.size], padding zero."""
    return _filled(space.segments, arrays, np.zeros(space.size, np.float32))


def integers_of(space: Space, arrays: Mapping[str, Array]) -> I64:
    """The integer buffers as one vector [space.integers_size]."""
    return _filled(space.integers, arrays, np.zeros(space.integers_size, np.int64))


def tensors_in(space: Space, vector: F32) -> dict[str, F32]:
    """Views into `vector` [space.size] by name, in the tensors' shapes."""
    return _views(space.segments, vector)


def buffers_in(space: Space, vector: I64) -> dict[str, I64]:
    """Views into `vector` [space.integers_size] by name, in the buffers' shapes."""
    return _views(space.integers, vector)


def _filled(places: Sequence[Segment | IntegerBuffer], arrays: Mapping[str, Array], vector: Array) -> Array:
    for place in places:
        vector[place.offset : place.offset + place.size] = arrays[place.name].reshape(-1)
    return vector


def _views(places: Sequence[Segment | IntegerBuffer], vector: Array) -> dict[str, Array]:
    return {p.name: vector[p.offset : p.offset + p.size].reshape(p.shape) for p in places}
