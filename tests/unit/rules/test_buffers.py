"""Buffers are averages of what workers have: never beyond it, however stale a push is."""

from typing import Literal

import numpy as np
import pytest

from deepseek_runtime.compression import codec_for
from deepseek_runtime.contract.config import Compression
from deepseek_runtime.rules import DelayedNesterov, Linear, Rule
from deepseek_runtime.space import Space, TensorSpec

SPACE = Space.build([TensorSpec("w", (5000,), "float32"), TensorSpec("running_var", (8,), "float32", "buffer")])
(SPAN,) = SPACE.spans
VARIANCE = slice(SPACE.segments[1].offset, SPACE.segments[1].stop)
Method = Literal["none", "topk"]


def rule(mode: str, method: Method) -> Rule:
    codec = codec_for(SPAN.runs, Compression(method=method))
    if mode == "local":
        return Linear(codec, SPAN.runs)
    return DelayedNesterov(codec, SPAN.runs, SPAN.size, 0.9)


def payload(method: Method, weights: float, variance: float) -> bytes:
    values = np.zeros(SPAN.size, np.float32)
    values[:5000] = weights
    values[VARIANCE] = variance
    return codec_for(SPAN.runs, Compression(method=method)).encode(values, np.empty_like(values))


@pytest.mark.parametrize("method", ["none", "topk"])
@pytest.mark.parametrize("mode", ["local", "gradient"])
def test_a_stale_push_does_not_carry_a_variance_below_what_anybody_saw(mode: str, method: Method) -> None:
    made, theta = rule(mode, method), np.zeros(SPAN.size, np.float32)
    theta[VARIANCE] = 1.0
    for _ in range(40):
        made.apply(theta, payload(method, 0.0, 0.25), 0.5, 0.1)
    made.apply(theta, payload(method, 0.0, 0.3), 0.5, 0.1)
    assert theta[VARIANCE] == pytest.approx(0.275, abs=1e-3)


@pytest.mark.parametrize("mode", ["local", "gradient"])
def test_one_worker_s_buffers_are_taken_as_they_are(mode: str) -> None:
    made, theta = rule(mode, "none"), np.zeros(SPAN.size, np.float32)
    made.apply(theta, payload("none", 1.0, 0.7), 1.0, 0.1)
    assert (theta[VARIANCE] == np.float32(0.7)).all()


@pytest.mark.parametrize("mode", ["local", "gradient"])
def test_a_residual_leaves_buffers_alone(mode: str) -> None:
    made, theta = rule(mode, "none"), np.zeros(SPAN.size, np.float32)
    theta[VARIANCE] = 0.5
    made.apply(theta, payload("none", 1.0, 0.0), 1.0, 0.1, residual=True)
    assert (theta[VARIANCE] == np.float32(0.5)).all()
    assert theta[0] != 0
