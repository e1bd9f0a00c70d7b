"""Masters on the host give what masters on the device give, and the device holds what `compute` reads."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from builders.nets import loss_of, mixed_net, sequences, two_groups
from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import LossScale, Optimizer, Precision, Training, Update
from deepseek_runtime.masters import HostMasters
from deepseek_runtime.precision import LOWER_SCALE_TRIES
from deepseek_runtime.session import Session, feed_of_job, join

CPU = torch.device("cpu")
SEEN = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def training(compute: Any, masters: Any, **fields: Any) -> Training:
    precision = Precision(compute=compute, loss_scale=LossScale(init=1024.0, interval=5), masters=masters)
    given = {"steps": 12, "optimizer": None, "update": Update(local_steps=3)} | fields
    return Training(batch_size=8, precision=precision, **given)


def run(feed: Alone, optimizer: Callable[[Any], torch.optim.Optimizer] | None, broken: dict[int, int]) -> Session:
    """Breaks batch `step` as often as `broken[step]` says."""
    model, left = mixed_net(), dict(broken)
    with feed_of_job(feed):
        session = join(model, optimizer(model) if optimizer else None, sequences(96), evaluate=evaluate)
    for batch in session:
        loss = loss_of(session.model, batch)
        if left.get(session.global_step, 0) > 0:
            left[session.global_step] -= 1
            loss = loss * math.inf
        session.backward(loss)
        session.step()
    return session


def evaluate(model: nn.Module) -> dict[str, float]:
    return {"loss": float(loss_of(model, sequences(16)[:]))}


def adamw(model: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(two_groups(model), lr=0.01)


def sgd(model: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


GRADIENT = {"update": Update(mode="gradient"), "optimizer": Optimizer(name="sgd", lr=0.05, clip_norm=0.1)}


@pytest.mark.parametrize("compute", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize(
    "fields,optimizer,broken",
    [
        ({}, adamw, {}),
        ({}, sgd, {4: 1, 7: 2}),
        ({"optimizer": Optimizer(name="adamw", clip_norm=0.05)}, adamw, {5: LOWER_SCALE_TRIES + 1}),
        ({}, sgd, {3: 99}),
        (GRADIENT, None, {2: 1}),
    ],
    ids=["adamw", "retried", "clipped, and once in float32", "given up", "gradient"],
)
def test_losses_and_weights_are_those_of_masters_on_the_device(
    compute: str,
    fields: dict[str, Any],
    optimizer: Callable[[Any], torch.optim.Optimizer] | None,
    broken: dict[int, int],
) -> None:
    done = {}
    for masters in ("device", "host"):
        feed = Alone(training(compute, masters, **fields))
        done[masters] = (run(feed, optimizer, broken), feed)
    (plain, plain_feed), (ours, our_feed) = done["device"], done["host"]
    # Of a float16 sum the last bit may differ: the norm is taken before the gradients are unscaled.
    assert our_feed.losses == pytest.approx(plain_feed.losses, rel=1e-6)
    assert our_feed.skipped == plain_feed.skipped
    assert our_feed.metrics[0][1] == pytest.approx(plain_feed.metrics[0][1], rel=1e-6)
    assert ours.loss_scale == plain.loss_scale
    for (name, one), other in zip(ours.model.state_dict().items(), plain.model.state_dict().values(), strict=True):
        assert one.dtype == other.dtype, name
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-8), name


@pytest.mark.parametrize("compute,dtype", SEEN.items())
def test_what_the_module_holds_in_the_loop(compute: str, dtype: torch.dtype) -> None:
    """Linear layers in the compute type; a tied embedding and norms in float32; all float32 again at the end."""
    feed, model = Alone(training(compute, "host", steps=2)), mixed_net()
    optimizer = adamw(model)
    with feed_of_job(feed):
        session = join(model, optimizer, sequences(96))
    for batch in session:
        session.backward(loss_of(model, batch))
        assert model.mix.weight.dtype == model.mix.bias.dtype == dtype
        assert model.mix.weight.grad is not None and model.mix.weight.grad.dtype == dtype
        assert model.embedding.weight is model.head.weight and model.head.weight.dtype == torch.float32
        assert model.norm.weight.dtype == model.frozen.weight.dtype == torch.float32
        session.step()
    assert {one.dtype for one in model.parameters()} == {torch.float32}
    moments = [value for state in optimizer.state.values() for value in state.values()]
    assert moments and {value.dtype for value in moments} == {torch.float32}


def test_gradients_that_float16_cannot_hold_unscaled_arrive() -> None:
    model = nn.Linear(4, 2, bias=False)
    masters = HostMasters(model, list(model.parameters()), CPU, torch.float16)
    assert model.weight.dtype == torch.float16
    model.weight.grad = torch.full((2, 4), 3.0, dtype=torch.float16)
    with masters.stepping(2.0**-40):
        assert model.weight.dtype == torch.float32
        assert model.weight.grad is not None
        assert torch.equal(model.weight.grad, torch.full((2, 4), 3.0 * 2.0**-40))
        with torch.no_grad():
            model.weight.fill_(1.0 + 2.0**-20)
    assert [one.grad for one in model.parameters()] == [None]
    assert torch.equal(model.weight.float(), torch.ones(2, 4))
    assert torch.equal(masters.of(model.weight), torch.full((2, 4), 1.0 + 2.0**-20))
    masters.use(full=True)
    assert torch.equal(model.weight, torch.full((2, 4), 1.0 + 2.0**-20))


def test_an_optimizer_loads_its_state_as_float32() -> None:
    model = nn.Linear(4, 2)
    masters = HostMasters(model, list(model.parameters()), CPU, torch.float16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    state = {
        "state": {0: {"momentum_buffer": torch.full((2, 4), 1e-9)}},
        "param_groups": optimizer.state_dict()["param_groups"],
    }
    with masters.loading():
        optimizer.load_state_dict(state)
    loaded = optimizer.state[model.weight]["momentum_buffer"]
    assert torch.equal(loaded, torch.full((2, 4), 1e-9))
    assert model.weight.dtype == torch.float16


def test_what_shares_memory_or_is_not_float32_stays_as_it_is() -> None:
    a, b, c, d = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4).double()
    model = nn.ModuleDict({"a": a, "b": b, "c": c, "d": d})
    b.weight = nn.Parameter(a.weight.detach())
    masters = HostMasters(model, list(model.parameters()), CPU, torch.bfloat16)
    dtypes = {name: str(one.dtype).removeprefix("torch.") for name, one in model.named_parameters()}
    assert dtypes == {
        "a.weight": "float32", "a.bias": "bfloat16", "b.weight": "float32", "b.bias": "bfloat16",
        "c.weight": "bfloat16", "c.bias": "bfloat16", "d.weight": "float64", "d.bias": "float64",
    }  # fmt: skip
    with torch.no_grad():
        b.weight.fill_(2.0)
    assert torch.equal(a.weight, torch.full((4, 4), 2.0))
    assert masters.of(a.weight) is a.weight
    d.weight.grad = torch.ones(4, 4, dtype=torch.float64)
    with masters.stepping(0.5):
        assert torch.equal(d.weight.grad, torch.full((4, 4), 0.5, dtype=torch.float64))
