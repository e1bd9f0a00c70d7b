"""A non-finite batch is yielded again as if for the first time, and its range given up when FP32 fails, too."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from builders.nets import loss_of, mixed_net, sequences
from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import LossScale, Precision, Training, Update
from deepseek_runtime.precision import LOWER_SCALE_TRIES
from deepseek_runtime.session import Session, feed_of_job, join


class Noisy(nn.Module):
    """A net that draws random numbers in its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mixed_net()
        self.drop = nn.Dropout(0.5)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.drop(self.inner(ids))  # type: ignore[no-any-return]


def training(compute: Any, steps: int = 6, local_steps: int = 2) -> Training:
    precision = Precision(compute=compute, loss_scale=LossScale(init=1024.0))
    return Training(
        steps=steps, batch_size=8, optimizer=None, update=Update(local_steps=local_steps), precision=precision
    )


def begin(model: nn.Module, feed: Alone) -> Session:
    with feed_of_job(feed):
        return join(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), sequences(96))


def train(session: Session, broken: dict[int, int]) -> list[tuple[int, bool]]:
    """Breaks batch `step` as often as `broken[step]` says; what was yielded: (step, retry)."""
    left = dict(broken)
    yielded = []
    for batch in session:
        step = session.global_step
        yielded.append((step, session.retry))
        loss = loss_of(session.model, batch)
        if left.get(step, 0) > 0:
            left[step] -= 1
            loss = loss * math.inf
        session.backward(loss)
        session.step()
    return yielded


@pytest.mark.parametrize("compute", ["float16", "bfloat16"])
def test_a_retried_batch_leaves_no_trace(compute: str) -> None:
    states = []
    for broken in ({}, {3: 1}):
        torch.manual_seed(0)
        model, feed = Noisy(), Alone(training(compute))
        session = begin(model, feed)
        yielded = train(session, broken)
        assert feed.skipped == []
        again = [step for step, retry in yielded if retry]
        assert again == list(broken)
        states.append((model.state_dict(), feed.losses))
    (plain, plain_losses), (retried, retried_losses) = states
    assert retried["inner.norm.num_batches_tracked"] == 6
    assert torch.equal(retried["inner.seen"], plain["inner.seen"])
    # The second try of bfloat16 is FP32, that of float16 another scale: equal up to that precision.
    assert retried_losses == pytest.approx(plain_losses, rel=2e-2)
    assert retried_losses[:3] == plain_losses[:3]


def test_float16_goes_down_to_float32_then_gives_the_range_up() -> None:
    tries = LOWER_SCALE_TRIES + 2
    model, feed = mixed_net(), Alone(training("float16"))
    session = begin(model, feed)
    yielded = train(session, {2: tries})
    assert yielded == [(0, False), (1, False), (2, False), *[(2, True)] * (tries - 1), (4, False), (5, False)]
    assert [g for g, _ in feed.skipped] == [1]
    assert "batch 2" in feed.skipped[0][1]
    assert [trained.g for trained in feed.trained] == [0, 2]
    assert feed.trained[-1].stats.loss_scale == 1024.0
    assert model.norm.num_batches_tracked == 4


def test_last_try_runs_in_float32() -> None:
    model = mixed_net()
    session = begin(model, Alone(training("float16", steps=1)))
    kinds = []
    for batch in session:
        logits = model(batch[0])
        kinds.append(logits.dtype)
        bad = len(kinds) <= LOWER_SCALE_TRIES + 1
        session.backward(logits.float().mean() * (math.nan if bad else 1.0))
        session.step()
    assert kinds == [torch.float16] * (LOWER_SCALE_TRIES + 1) + [torch.float32]


def test_float32_gives_the_range_up_at_once_and_goes_on() -> None:
    model, feed = mixed_net(), Alone(training("float32"))
    assert train(begin(model, feed), {3: 1}) == [(0, False), (1, False), (2, False), (3, False), (4, False), (5, False)]
    assert [g for g, _ in feed.skipped] == [1]
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


def test_finite_loss_with_a_non_finite_gradient_is_caught() -> None:
    feed = Alone(training("float32", steps=2, local_steps=1))
    model = mixed_net()
    before = {name: value.clone() for name, value in model.named_parameters()}
    for batch in begin_iter(model, feed):
        session, ids = batch
        bad = (model.mix.weight * 0).abs().sum().sqrt()
        session.backward(loss_of(model, ids) + bad)
        assert session.step() is False
    assert len(feed.skipped) == 2
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name])


def begin_iter(model: nn.Module, feed: Alone) -> Any:
    session = begin(model, feed)
    return ((session, batch) for batch in session)


def test_weights_that_overflow_are_never_pushed() -> None:
    """Every gradient is finite, and the step is not."""
    model = nn.Linear(6, 1, bias=False)
    data = [torch.ones(6) for _ in range(96)]
    feed = Alone(training("float32", steps=8, local_steps=1))
    with feed_of_job(feed):
        session = join(model, torch.optim.SGD(model.parameters(), lr=2.0, momentum=0.9), data)
    for batch in session:
        factor = 3e38 if session.global_step == 2 else 1e30 if session.global_step == 5 else 1e-3
        out = session.model(batch)
        session.backward((out - out.detach()).sum() * (factor / 8))
        taken = session.step()
        assert taken == (session.global_step != 2)
    assert [g for g, _ in feed.skipped] == [2]
    assert "overflowed float32 by batch 2" in feed.skipped[0][1]
    assert len(feed.trained) == 7
    assert bool(torch.isfinite(model.weight).all())
