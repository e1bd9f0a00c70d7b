"""The loss scale grows and shrinks as torch's GradScaler does; a batch gets lower scales, then FP32."""

import random
from itertools import pairwise

import torch

from deepseek_runtime.contract.config import LossScale, Precision
from deepseek_runtime.precision import LOWER_SCALE_TRIES, LossScaler, Tries


def test_scale_moves_as_in_torch() -> None:
    config = LossScale(init=1024.0, growth=2.0, backoff=0.5, interval=5)
    theirs = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=5)
    ours = LossScaler(config)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    draw = random.Random(0)
    seen = [1024.0]
    for _ in range(120):
        overflow = draw.random() < 0.3
        weight.grad = None
        theirs.scale((weight * (float("inf") if overflow else 1.0)).sum()).backward()  # type: ignore[no-untyped-call]
        theirs.step(optimizer)
        theirs.update()
        ours.overflow() if overflow else ours.good()
        assert ours.scale == theirs.get_scale()
        seen.append(ours.scale)
    moves = {after / before for before, after in pairwise(seen)}
    assert moves == {0.5, 1.0, 2.0}


def test_float16_ends_in_float32_and_keeps_its_scale_if_that_fails() -> None:
    tries = Tries(Precision(compute="float16"))
    tries.begin()
    scales = []
    for _ in range(LOWER_SCALE_TRIES + 1):
        scales.append(tries.scale)
        assert tries.bad() == "again"
    assert scales == [65536.0 / 2**k for k in range(LOWER_SCALE_TRIES + 1)]
    assert tries.scale == 1.0
    assert tries.bad() == "give_up"
    tries.begin()
    assert tries.scale == 65536.0


def test_float16_keeps_the_lower_scale_that_helped() -> None:
    tries = Tries(Precision(compute="float16"))
    tries.begin()
    assert tries.bad() == "again"
    tries.good()
    tries.begin()
    assert tries.scale == 32768.0


def test_float32_is_not_run_again() -> None:
    tries = Tries(Precision(compute="float32"))
    tries.begin()
    assert tries.bad() == "give_up"


def test_bfloat16_has_one_more_try_without_scale() -> None:
    tries = Tries(Precision(compute="bfloat16"))
    tries.begin()
    with tries.autocast(torch.device("cpu")):
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.bfloat16
    assert tries.scale == 1.0
    assert tries.bad() == "again"
    with tries.autocast(torch.device("cpu")):
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.float32
    assert tries.bad() == "give_up"
