"""The tally counts exactly how often each sample was trained, in every row of every span."""

import pytest
import torch

from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import Optimizer, Precision, Training, Update
from deepseek_runtime.ranges import I64, RangePlan
from deepseek_runtime.space import CHUNK, Space, TensorSpec
from deepseek_runtime.tasks.tally import Tally, TallyModel, counts
from deepseek_runtime.tasks.task import run_task

SGD = Optimizer(name="sgd", lr=1.0)


@pytest.mark.parametrize("local_steps", [1, 3])
def test_each_sample_counts_once_an_epoch(local_steps: int) -> None:
    feed = Alone(Training(epochs=3, batch_size=8, optimizer=SGD, update=Update(local_steps=local_steps, weight="one")))
    session = run_task(Tally(rows=4, samples=57), feed)
    assert isinstance(session.model, TallyModel)
    counted = counts(session.model.w.detach())
    assert counted.shape == (4, CHUNK)
    assert torch.equal(counted[:, :57], torch.full((4, 57), 3.0))
    assert not counted[:, 57:].any()
    assert feed.metrics[-1][1] == {"least": 3.0, "most": 3.0, "mean": 3.0, "beyond": 0.0}


class Dropping(Alone):
    """Loses range 2."""

    def push(self, difference, integers, stats):  # type: ignore[no-untyped-def]
        super().push(difference * (self._g != 2), integers, stats)


def test_a_lost_range_shows_in_its_samples() -> None:
    feed = Dropping(Training(epochs=1, batch_size=4, optimizer=SGD, update=Update(local_steps=1, weight="one")))
    session = run_task(Tally(rows=2, samples=20), feed)
    lost: I64 = RangePlan.of_epochs(20, 4, 1, 1).batches(2)[0]
    assert isinstance(session.model, TallyModel)
    zero = (counts(session.model.w.detach())[0, :20] == 0).nonzero().flatten()
    assert sorted(zero.tolist()) == sorted(lost.tolist())
    assert feed.metrics[-1][1]["least"] == 0.0


@pytest.mark.parametrize("rows", [2, 8, 130])
def test_every_span_has_two_rows(rows: int) -> None:
    shape = tuple(Tally(rows=rows).model().state_dict()["w"].shape)
    space = Space.build([TensorSpec("w", shape, "float32")])
    assert all(span.size >= 2 * CHUNK and span.start % CHUNK == 0 for span in space.spans)


@pytest.mark.parametrize("args", [{"rows": 1}, {"samples": 0}, {"samples": CHUNK + 1}])
def test_arguments(args: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        Tally(**args)


def test_float16_counts_as_exactly() -> None:
    training = Training(epochs=1, batch_size=8, optimizer=SGD, precision=Precision(compute="float16"))
    session = run_task(Tally(rows=2, samples=32), Alone(training))
    assert isinstance(session.model, TallyModel)
    assert torch.equal(counts(session.model.w.detach())[:, :32], torch.ones(2, 32))
