"""The simulation's torch code against the product's: what is sent, what stays, what theta and p become, the bytes."""

import numpy as np
import pytest
import torch

from bench._lm.powersgd import PowerSGD
from bench._lm.runs import events
from bench._lm.servers import LinearServer, Outer
from bench._lm.sparse import Codec
from deepseek_runtime.compression import SpanCodec, codec_for
from deepseek_runtime.contract.config import Compression
from deepseek_runtime.protocol.messages import Answers, Lease
from deepseek_runtime.protocol.pushing import Pushing
from deepseek_runtime.protocol.span import Span, SpanParts
from deepseek_runtime.rules import DelayedNesterov, Linear
from deepseek_runtime.space import F32, Space, TensorSpec

SPEEDS = (1.0, 0.9, 0.75, 0.5)
CPU = torch.device("cpu")


def small_space() -> Space:
    """Three spans; a last chunk that is cut short, and small tensors of an odd length."""
    shapes = {"a": (100, 50), "b": (7,), "c": (64, 128), "d": (90, 91), "e": (13,)}
    return Space.build((TensorSpec(name, shape, "float32") for name, shape in shapes.items()), spans=3)


def random_vector(space: Space, generator: np.random.Generator) -> F32:
    """Zero in the padding, heavy tails elsewhere."""
    values = np.zeros(space.size, np.float32)
    for one in space.segments:
        values[one.offset : one.stop] = generator.standard_t(3, one.size) * 1e-3
    return values


def codecs(space: Space, ratio: float) -> list[SpanCodec]:
    settings = Compression(method="topk", ratio=ratio, value_bits=2)
    return [codec_for(span.runs, settings, fast=False) for span in space.spans]


class RealJob:
    """The product's spans and the product's workers' residuals, without messages."""

    def __init__(self, space: Space, theta: F32, ratios: tuple[float, float], outer: Outer) -> None:
        self.space = space
        self.spans = []
        for span, codec in zip(space.spans, codecs(space, ratios[1]), strict=True):
            nesterov = DelayedNesterov(codec, span.runs, span.size, outer.mu)
            parts = SpanParts(codec, nesterov if outer.mu else Linear(codec, span.runs), lambda g: outer.eta)
            self.spans.append(Span(span.index, parts, theta[span.start : span.stop].copy(), 1, 1, 1))
        self.workers = []
        for _ in SPEEDS:
            worker = Pushing(2.0)
            worker.adopt(space, codecs(space, ratios[0]))
            self.workers.append(worker)

    def push(self, worker: int, g: int, difference: F32) -> tuple[int, int]:
        """Bytes of its payloads, and of what was published then."""
        pushing, w = self.workers[worker], 1 / len(SPEEDS)
        lease = Lease(1, g, g, 0, w)
        pushing.begin(lease, difference.copy(), difference, None, 1, {})
        pending = pushing.pending
        assert pending is not None
        published = 0
        for span in self.spans:
            payload = pending.parts[span.index]
            span.parts.rule.apply(span.theta, payload, w, span.parts.lr(g))
            span.publish()
            published += len(span._log[-1][1])
        sizes = sum(len(part) for part in pending.parts.values())
        pushing.take(Answers(1, 1, pending.sequence, {span.index: "applied" for span in self.spans}), 1)
        assert pushing.pending is None
        return sizes, published

    def theta(self) -> F32:
        return np.concatenate([span.theta for span in self.spans])

    def p(self) -> F32:
        return np.concatenate([span.p for span in self.spans])


@pytest.mark.parametrize("outer", [Outer(), Outer(0.7, 0.5, 4)], ids=["linear", "delayed Nesterov"])
def test_a_schedule_of_pushes_gives_the_products_theta_p_residuals_and_bytes(outer: Outer) -> None:
    """Two lanes with different ratios and data; bit for bit."""
    space = small_space()
    ratios = [(0.05, 0.04), (0.02, 0.08)]
    generator = np.random.default_rng(0)
    start = [random_vector(space, generator) for _ in ratios]
    real = [RealJob(space, theta, pair, outer) for theta, pair in zip(start, ratios, strict=True)]
    up = Codec(space, [pair[0] for pair in ratios], CPU)
    down = Codec(space, [pair[1] for pair in ratios], CPU)
    server = LinearServer(torch.from_numpy(np.stack(start)), down, [outer] * 2, [1, 1], 1 / len(SPEEDS))
    residual = torch.zeros((len(SPEEDS), 2, space.size))
    published = np.zeros(2, np.int64)
    for worker, g, _ in events(SPEEDS, 24, 8.0):
        made = np.stack([random_vector(space, generator) for _ in ratios])
        owed = torch.from_numpy(made) + residual[worker]
        sent = up.encode(owed)
        residual[worker] = owed - sent.values
        server.push(sent.values)
        for lane, job in enumerate(real):
            sizes, down_sizes = job.push(worker, g, made[lane])
            published[lane] += down_sizes
            assert int(sent.sizes[lane]) == sizes
            np.testing.assert_array_equal(residual[worker, lane].numpy(), job.workers[worker]._e)
        for lane, job in enumerate(real):
            np.testing.assert_array_equal(server.theta[lane].numpy(), job.theta())
            np.testing.assert_array_equal(server.p[lane].numpy(), job.p())
    assert server.published.tolist() == published.tolist()


def test_zeros_are_not_sent_and_cost_what_the_codec_says() -> None:
    space = small_space()
    values = np.zeros(space.size, np.float32)
    values[[3, 17, 4096 + 5]] = [1.0, -2.0, 0.5]
    sent = Codec(space, [0.05], CPU).encode(torch.from_numpy(values)[None])
    real = codecs(space, 0.05)
    payloads = [
        one.encode(values[s.start : s.stop].copy(), np.zeros(s.size, np.float32))
        for one, s in zip(real, space.spans, strict=True)
    ]
    decoded = np.concatenate([one.decode(payload) for one, payload in zip(real, payloads, strict=True)])
    np.testing.assert_array_equal(sent.values[0].numpy(), decoded)
    assert int(sent.sizes[0]) == sum(map(len, payloads))


def test_a_dense_lane_beside_a_sparse_one_sends_everything() -> None:
    space = small_space()
    values = torch.from_numpy(random_vector(space, np.random.default_rng(1)))[None].repeat(2, 1)
    codec = Codec(space, [None, 0.05], CPU)
    sent = codec.encode(values)
    assert torch.equal(sent.values[0], values[0])
    assert not torch.equal(sent.values[1], values[1])
    dense = codecs(space, 0.05)
    whole = sum(
        len(one.encode_dense(values[0, s.start : s.stop].numpy())) for one, s in zip(dense, space.spans, strict=True)
    )
    assert int(sent.sizes[0]) == codec.dense_size == whole


def test_the_rival_loses_nothing_at_full_rank_and_sends_later_what_it_left_out() -> None:
    """Two workers, two lanes: at rank 13 the smaller matrix is sent exactly; at rank 1 what was sent and what is left
    sum to what the workers had."""
    generator = torch.Generator().manual_seed(0)
    space = Space.build([TensorSpec("a", (13, 400), "float32"), TensorSpec("n", (9,), "float32")])
    gradients = [torch.zeros(2, space.size) for _ in range(2)]
    for one in gradients:
        for segment in space.segments:
            one[:, segment.offset : segment.stop].normal_(generator=generator)
    mean = (gradients[0] + gradients[1]) / 2
    exact = PowerSGD(space, 13, 2, 2, CPU).mean([one.clone() for one in gradients])
    torch.testing.assert_close(exact, mean, rtol=1e-3, atol=1e-4)
    hook = PowerSGD(space, 1, 2, 2, CPU)
    sent = hook.mean([one.clone() for one in gradients])
    torch.testing.assert_close(sent + hook._errors.mean(0), mean)
    first = (sent - mean).norm()
    total = sent + sum(hook.mean([one.clone() for one in gradients]) for _ in range(40))
    assert (total / 41 - mean).norm() < 0.3 * first
