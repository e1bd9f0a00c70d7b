"""AdamW at the servers: parts of a step by w, and published weights that look ahead."""

import numpy as np
import pytest
import torch

from bench._lm.servers import AdamWServer
from deepseek_runtime.compression import codec_for
from deepseek_runtime.contract.config import Compression
from deepseek_runtime.protocol.span import Span, SpanParts
from deepseek_runtime.rules import AdamW, Moments
from deepseek_runtime.space import F32, Space, TensorSpec

SPACE = Space.build([TensorSpec("w", (5000,), "float32"), TensorSpec("b", (8,), "float32")])
(SPAN,) = SPACE.spans
CODEC = codec_for(SPAN.runs, Compression(method="none"), fast=False)
PLACES = np.concatenate([np.arange(run.start, run.stop) for run in SPAN.runs])


def rule(look_ahead: float = 2.0) -> AdamW:
    return AdamW(CODEC, SPAN.runs, Moments(SPAN.size, (0.9, 0.99), 0.0), look_ahead)


def vector(seed: int) -> F32:
    values = np.zeros(SPAN.size, np.float32)
    values[PLACES] = np.random.default_rng(seed).standard_normal(PLACES.size).astype(np.float32)
    return values


def test_a_turn_of_equal_pushes_is_one_step() -> None:
    """Along a gradient that stays, AdamW steps by the learning rate."""
    made, theta, g = rule(), vector(0), vector(1)
    before = theta.copy()
    for _ in range(4):
        made.apply(theta, CODEC.encode_dense(g), 0.25, 0.01)
    np.testing.assert_allclose((before - theta)[PLACES], 0.01 * np.sign(g[PLACES]), rtol=1e-3)


def test_what_is_published_is_where_the_weights_will_be() -> None:
    """Twice the three pushes of the others, along a gradient that stays."""
    made, theta, g = rule(), vector(0), vector(1)
    made.apply(theta, CODEC.encode_dense(g), 0.25, 0.01)
    ahead = made.published(theta).copy()
    for _ in range(6):
        made.apply(theta, CODEC.encode_dense(g), 0.25, 0.01)
    np.testing.assert_allclose(ahead, theta, atol=1e-5)


@pytest.mark.parametrize("look_ahead, w", [(0.0, 0.25), (2.0, 1.0)])
def test_without_others_or_look_ahead_the_weights_themselves_are_published(look_ahead: float, w: float) -> None:
    made, theta = rule(look_ahead), vector(0)
    assert made.published(theta) is theta
    made.apply(theta, CODEC.encode_dense(vector(1)), w, 0.01)
    assert made.published(theta) is theta


def test_a_span_publishes_ahead_and_ends_at_its_weights() -> None:
    span = Span(0, SpanParts(CODEC, rule(), lambda g: 0.01, dense=True), vector(0), 1, 1, 1)
    span.parts.rule.apply(span.theta, CODEC.encode_dense(vector(1)), 0.25, 0.01)
    span.publish()
    np.testing.assert_array_equal(span.p, span.parts.rule.published(span.theta))
    assert not np.array_equal(span.p, span.theta)
    span.publish_dense()
    np.testing.assert_array_equal(span.p, span.theta)


def test_a_restored_rule_goes_on_as_if_nothing_had_been() -> None:
    first, theta = rule(), vector(0)
    for seed in range(3):
        first.apply(theta, CODEC.encode_dense(vector(seed)), 0.25, 0.01)
    second, copy = rule(), theta.copy()
    second.load(*first.state())
    for one, weights in ((first, theta), (second, copy)):
        one.apply(weights, CODEC.encode_dense(vector(9)), 0.5, 0.01)
    np.testing.assert_array_equal(theta, copy)
    np.testing.assert_array_equal(first.published(theta), second.published(copy))


def test_the_simulation_of_bench_accuracy_lm_is_this_rule() -> None:
    """The same weights and the same predictions after 40 pushes of four workers."""
    made, theta = rule(), vector(0)
    lane = AdamWServer(torch.from_numpy(theta.copy())[None], [(0.9, 0.99)], 4)
    lr, ahead = torch.tensor([[0.01]]), torch.tensor([[6.0]])
    for seed in range(40):
        g = vector(seed + 1)
        made.apply(theta, CODEC.encode_dense(g), 0.25, 0.01)
        lane.push(torch.from_numpy(g)[None], lr)
    np.testing.assert_allclose(lane.theta[0].numpy(), theta, atol=2e-5)
    np.testing.assert_allclose(lane.pull(lr, ahead)[0].numpy(), made.published(theta), atol=2e-5)
