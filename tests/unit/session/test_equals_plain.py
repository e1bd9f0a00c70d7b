"""A session alone trains as the plain PyTorch loop does, bit for bit up to rounding."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch.utils.data import default_collate

from builders.nets import MixedNet, loss_of, mixed_net, plainly, sequences, two_groups
from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import Optimizer, Training, Update
from deepseek_runtime.ranges import RangePlan
from deepseek_runtime.session import feed_of_job, join

STEPS = 200
MakeOptimizer = Callable[[MixedNet], torch.optim.Optimizer]
Run = Callable[[MixedNet, torch.optim.Optimizer, int], list[float]]

OPTIMIZERS: dict[str, MakeOptimizer] = {
    "sgd with momentum": lambda model: torch.optim.SGD(two_groups(model), lr=0.05, momentum=0.9),
    "adamw": lambda model: torch.optim.AdamW(two_groups(model), lr=0.01),
}


def on_a_session(local_steps: int) -> Run:
    def run(model: MixedNet, optimizer: torch.optim.Optimizer, samples: int) -> list[float]:
        training = Training(steps=STEPS, batch_size=8, optimizer=None, update=Update(local_steps=local_steps))
        feed = Alone(training)
        with feed_of_job(feed):
            session = join(model, optimizer, sequences(samples))
            for batch in session:
                session.backward(loss_of(session.model, batch))
                session.step()
        return feed.losses

    return run


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("local_steps,samples", [(1, 160), (8, 160), (8, 157)])
def test_same_losses_and_weights(name: str, local_steps: int, samples: int) -> None:
    trained = {}
    losses = {}
    for way, run in (("plain", partial(plainly, steps=STEPS)), ("session", on_a_session(local_steps))):
        trained[way] = mixed_net()
        losses[way] = run(trained[way], OPTIMIZERS[name](trained[way]), samples)
    before, plain, session = mixed_net().state_dict(), trained["plain"].state_dict(), trained["session"].state_dict()
    floats = [key for key, value in before.items() if value.is_floating_point()]
    largest_change = max(float((plain[key] - before[key]).abs().max()) for key in floats)
    assert largest_change > 0.1
    for key in floats:
        assert float((plain[key] - session[key]).abs().max()) <= 1e-5 * largest_change, key
    assert losses["session"] == pytest.approx(losses["plain"], rel=1e-4)
    for key in ("seen", "norm.num_batches_tracked", "mask"):
        assert torch.equal(plain[key], session[key])
    assert torch.equal(session["frozen.weight"], before["frozen.weight"])
    assert session["embedding.weight"].data_ptr() == session["head.weight"].data_ptr()


def test_schedule_follows_the_global_step() -> None:
    config = Optimizer(lr=0.01, schedule="cosine", warmup_steps=10)
    ours, theirs = mixed_net(), mixed_net()
    training = Training(steps=40, batch_size=8, optimizer=config)
    with feed_of_job(Alone(training)):
        session = join(ours, torch.optim.SGD(ours.parameters(), lr=0.01), sequences(160))
        for batch in session:
            session.backward(loss_of(ours, batch))
            session.step()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 9),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30),
        ],
        [10],
    )
    data, plan = sequences(160), RangePlan(160, 8, 1, 40)
    for g in range(40):
        loss_of(theirs, default_collate([data[i] for i in plan.batches(g)[0]])).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
