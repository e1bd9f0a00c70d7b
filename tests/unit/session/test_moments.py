"""An optimizer's state as flat arrays: training goes on from them as if nothing had happened."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from builders.nets import MixedNet, loss_of, mixed_net, sequences, two_groups
from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import Training, Update
from deepseek_runtime.feed import Description, Tensors
from deepseek_runtime.moments import read_moments, write_moments
from deepseek_runtime.ranges import RangePlan
from deepseek_runtime.session import feed_of_job, join

MAKE: dict[str, Callable[[MixedNet], torch.optim.Optimizer]] = {
    "sgd": lambda model: torch.optim.SGD(two_groups(model), lr=0.05, momentum=0.9),
    "adamw": lambda model: torch.optim.AdamW(two_groups(model), lr=0.01, amsgrad=True),
}


def steps(model: MixedNet, optimizer: torch.optim.Optimizer, count: int) -> None:
    data = sequences(32)
    batch = data.tensors[0], data.tensors[1]
    for _ in range(count):
        optimizer.zero_grad()
        loss_of(model, batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@pytest.mark.parametrize("name", MAKE)
def test_round_trip(name: str) -> None:
    model = mixed_net()
    optimizer = MAKE[name](model)
    steps(model, optimizer, 3)
    moments = read_moments(optimizer, {id(p): n for n, p in model.named_parameters()})
    assert all(array.dtype == np.float32 for array in moments.values())
    other = mixed_net()
    other.load_state_dict(model.state_dict())
    fresh = MAKE[name](other)
    write_moments(fresh, {id(p): n for n, p in other.named_parameters()}, moments)
    steps(model, optimizer, 3)
    steps(other, fresh, 3)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_empty_moments_reset() -> None:
    model = mixed_net()
    optimizer = MAKE["adamw"](model)
    steps(model, optimizer, 2)
    write_moments(optimizer, {}, {})
    assert not optimizer.state
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.003]


class Watched(Alone):
    """Keeps what the session offers, and takes the moments away before range 1."""

    description: Description
    seen: Tensors

    def join(self, description: Description) -> RangePlan:
        self.description = description
        return super().join(description)

    def skip_moments(self) -> None:
        self.seen = self.description.moments()
        self.description.load_moments({}, False)


def test_a_session_without_moments_warms_up_anew() -> None:
    model = mixed_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    feed = Watched(Training(steps=12, batch_size=8, optimizer=None, update=Update(local_steps=2)))
    used = []
    with feed_of_job(feed):
        session = join(model, optimizer, sequences(96))
        for batch in session:
            if session.global_step == 2:
                feed.skip_moments()
            session.backward(loss_of(model, batch))
            session.step()
            used.append(optimizer.param_groups[0]["lr"])
    assert "mix.weight/exp_avg" in feed.seen
    assert "embedding.weight/step" in feed.seen
    assert used == pytest.approx([0.01, 0.01, 0.002, 0.004, 0.006, 0.008, *[0.01] * 6])
