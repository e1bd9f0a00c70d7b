"""Deep Gradient Compression: one threshold over all, momentum that is masked, a ratio that falls."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.values import F32, SHAPES, span_of, values_of
from deepseek_runtime.compression import codec_for
from deepseek_runtime.compression.form import keep
from deepseek_runtime.compression.momentum import Correction, masked, one_threshold
from deepseek_runtime.contract.config import Compression, Timing
from deepseek_runtime.protocol.messages import Answers, Lease
from deepseek_runtime.protocol.pushing import Pushing
from deepseek_runtime.space import Space, TensorSpec


@given(st.sampled_from(sorted(SHAPES)), st.sampled_from([1e-3, 0.05, 0.5, 1.0]), st.integers(1, 5), st.integers(0, 99))
def test_exactly_the_largest_of_all_pieces_are_sent(shape: str, ratio: float, pieces: int, seed: int) -> None:
    values = values_of(shape, 4096 * pieces, seed)
    sent = [slice(4096 * piece, 4096 * (piece + 1)) for piece in range(pieces)]
    decoded = np.zeros_like(values)
    for here, how in zip(sent, one_threshold(values, sent, ratio), strict=True):
        codec = codec_for(span_of(("weights", 4096)), Compression(method="dgc", value_bits=32))
        decoded[here] = codec.decode(codec.encode(values[here], np.empty(4096, np.float32), how=how))
    order = np.argsort(-np.abs(values), kind="stable")[: keep(ratio, values.size)]
    expected = np.zeros_like(values)
    expected[order] = values[order]
    np.testing.assert_array_equal(decoded, expected)


def test_the_ratio_falls_as_in_the_paper() -> None:
    correction = Correction(0.9, 0.001, 400)
    assert [round(correction.ratio_at(step), 4) for step in (0, 100, 200, 300, 400, 9999)] == [
        0.25,
        0.0629,
        0.0158,
        0.004,
        0.001,
        0.001,
    ]
    assert Correction(0.9, 0.5, 100).ratio_at(0) == 0.5


def test_masking() -> None:
    u = np.array([1, 2, 3], np.float32)
    before, after = np.array([5, 6, 7], np.float32), np.array([5, 0.5, 0], np.float32)
    assert masked(u, before, after).tolist() == [1, 0, 0]


class Worker:
    """A worker's pushes of one space, answered by hand."""

    def __init__(self, momentum: float) -> None:
        self.space = Space.build(
            [TensorSpec("w", (3 * 4096,), "float32"), TensorSpec("mean", (4,), "float32", "buffer")], spans=2
        )
        settings = Compression(method="dgc", ratio=0.01, value_bits=32)
        self.codecs = [codec_for(span.runs, settings) for span in self.space.spans]
        self.pushing = Pushing(Timing().resend, Correction(momentum, settings.ratio, 0))
        self.pushing.adopt(self.space, self.codecs)
        self.g = 0

    def push(self, gradient: F32, answer: str) -> F32:
        """What arrives at the servers."""
        lease = Lease(1, self.g + 1, self.g, 0, 1.0)
        self.g += 1
        self.pushing.begin(lease, gradient.copy(), np.zeros(self.space.size, np.float32), None, 1, {})
        pending = self.pushing.pending
        assert pending is not None
        arrived = np.concatenate([codec.decode(pending.parts[i]) for i, codec in enumerate(self.codecs)])
        answers = {span.index: answer for span in self.space.spans}
        self.pushing.take(Answers(1, 1, pending.sequence, answers), 1)  # type: ignore[arg-type]
        return arrived if answer == "applied" else np.zeros_like(arrived)


def naive(gradients: list[F32], momentum: float, kept: int) -> F32:
    """The paper's algorithm 1 and 2 with one worker."""
    u, v, sent = (np.zeros(3 * 4096, np.float32) for _ in range(3))
    for gradient in gradients:
        u = np.float32(momentum) * u + gradient
        v = v + u
        largest = np.argsort(-np.abs(v), kind="stable")[:kept]
        sent[largest] += v[largest]
        u[largest] = v[largest] = 0
    return sent


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_worker_sends_what_the_paper_says(momentum: float) -> None:
    worker = Worker(momentum)
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal(3 * 4096).astype(np.float32) for _ in range(12)]
    arrived = np.zeros(3 * 4096, np.float32)
    for gradient in gradients:
        whole = np.zeros(worker.space.size, np.float32)
        whole[: 3 * 4096] = gradient
        arrived += worker.push(whole, "applied")[: 3 * 4096]
    np.testing.assert_allclose(arrived, naive(gradients, momentum, keep(0.01, 3 * 4096)), atol=1e-5)


@pytest.mark.parametrize("answer", ["duplicate", "stale"])
def test_a_push_that_is_not_applied_changes_neither_residual_nor_momentum(answer: str) -> None:
    one, other = Worker(0.9), Worker(0.9)
    rng = np.random.default_rng(1)
    first, lost, last = (rng.standard_normal(one.space.size).astype(np.float32) for _ in range(3))
    for values in (first, lost, last):
        values[3 * 4096 :] = 0
    one.push(first, "applied")
    other.push(first, "applied")
    one.push(lost, answer)
    np.testing.assert_array_equal(one.push(last, "applied"), other.push(last, "applied"))


def test_buffers_have_no_momentum() -> None:
    worker = Worker(0.9)
    changed = np.zeros(worker.space.size, np.float32)
    changed[3 * 4096 : 3 * 4096 + 4] = 2
    for _ in range(3):
        # x - d, x being 0: the value itself.
        assert worker.push(changed, "applied")[3 * 4096 : 3 * 4096 + 4].tolist() == [-2] * 4
