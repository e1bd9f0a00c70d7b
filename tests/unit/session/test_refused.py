"""Models, data and optimizers that cannot be trained in a job: refused at once, with what would be right."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from builders.nets import loss_of, mixed_net, sequences
from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import Training
from deepseek_runtime.feed import JobRefused
from deepseek_runtime.session import Session, feed_of_job, join


class Endless(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(10))


class Unmeasured(Dataset[int]):
    def __getitem__(self, index: int) -> int:
        return index


def complex_net() -> nn.Module:
    net = nn.Linear(2, 2)
    net.extra = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    return net


def frozen_net() -> nn.Module:
    return nn.Linear(2, 2).requires_grad_(False)


@pytest.mark.parametrize(
    "data,says",
    [
        (Endless(), r"Endless can only be iterated.*__getitem__"),
        (iter([1, 2]), "only be iterated"),
        (Unmeasured(), "no length"),
        (TensorDataset(torch.zeros(0, 3)), "empty"),
        ([], "empty"),
    ],
)
def test_data_sets(data: Any, says: str) -> None:
    model = mixed_net()
    with pytest.raises(JobRefused, match=says) as refused:
        join(model, torch.optim.SGD(model.parameters(), lr=0.1), data)
    assert refused.value.code == 65


@pytest.mark.parametrize(
    "make,says",
    [
        (frozen_net, "no parameter to train"),
        (complex_net, "extra of the model is torch.complex64"),
        (lambda: nn.Sequential(nn.LazyLinear(3)), "0.weight of the model has no shape yet"),
    ],
)
def test_models(make: Callable[[], nn.Module], says: str) -> None:
    model = make()
    with pytest.raises(JobRefused, match=says) as refused:
        join(model, torch.optim.SGD(model.parameters(), lr=0.1), sequences(8))
    assert refused.value.code == 65


def test_no_optimizer_is_for_gradient_mode() -> None:
    with pytest.raises(JobRefused, match=r"update\.mode: gradient"):
        join(mixed_net(), None, sequences(8))


def test_lbfgs() -> None:
    model = mixed_net()
    with pytest.raises(JobRefused, match="LBFGS"):
        join(model, torch.optim.LBFGS([p for p in model.parameters() if p.requires_grad]), sequences(8))


def step_lr(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    return scheduler.step


def on_plateau(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    return lambda: scheduler.step(1.0)


def by_hand(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    def halve() -> None:
        for group in optimizer.param_groups:
            group["lr"] *= 0.5

    return halve


def drive(session: Session, after: Callable[[], None]) -> None:
    for batch in session:
        session.backward(loss_of(session.model, batch))
        session.step()
        after()


@pytest.mark.parametrize("attach", [step_lr, on_plateau, by_hand])
@pytest.mark.parametrize("config", [{"schedule": "cosine", "warmup_steps": 3}, None])
def test_a_scheduler_in_a_job(attach: Callable[[torch.optim.Optimizer], Callable[[], None]], config: Any) -> None:
    model = mixed_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training = Training.model_validate({"steps": 24, "batch_size": 8, "optimizer": config})
    with feed_of_job(Alone(training)):
        session = join(model, optimizer, sequences(64))
        with pytest.raises(JobRefused, match=r"training\.optimizer\.schedule") as refused:
            drive(session, attach(optimizer))
    assert refused.value.code == 65


def test_a_scheduler_alone_is_the_user_s_own_business() -> None:
    model = mixed_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    session = join(model, optimizer, sequences(64), steps=20, batch_size=8)
    drive(session, step_lr(optimizer))
    assert optimizer.param_groups[0]["lr"] < 1e-6
