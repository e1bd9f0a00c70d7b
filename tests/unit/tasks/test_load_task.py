"""`module:Class` to a task, and each way in which that fails."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import Training
from deepseek_runtime.feed import JobRefused
from deepseek_runtime.tasks.tally import Tally
from deepseek_runtime.tasks.task import load_task, run_task

CODE = """
import torch

class Line:
    def __init__(self, size=2, samples=24):
        self.size, self.samples = size, samples
    def model(self):
        return torch.nn.Linear(self.size, 1)
    def loss(self, model, batch):
        return model(batch).square().mean()
    def dataset(self, split):
        return torch.ones(self.samples, self.size)

class Half:
    def model(self):
        return None

class Wrong(Line):
    def model(self):
        return "a model"

number = 3
"""


@pytest.fixture(autouse=True)
def user_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "their_task.py").write_text(CODE)
    (tmp_path / "their_imports.py").write_text("import surely_not_installed\n")
    (tmp_path / "their_bug.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("their_task", "their_imports", "their_bug"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "reference,args,code,says",
    [
        ("their_task", {}, 64, "must be module:Class"),
        (":Line", {}, 64, "must be module:Class"),
        ("nowhere:Line", {}, 66, "no module 'nowhere'.*training.code"),
        ("their_task.inner:Line", {}, 66, "no module"),
        ("their_imports:Line", {}, 66, "their_imports imports 'surely_not_installed'"),
        ("their_task:Lime", {}, 66, r"no class Lime; did you mean Line\?"),
        ("their_task:number", {}, 65, "no class but int"),
        ("their_task:Half", {}, 65, "no loss and no dataset"),
        ("their_task:Line", {"sise": 3}, 64, "'sise'; it takes: size, samples"),
        ("deepseek_runtime.tasks.tally:Tally", {"row": 3}, 64, "it takes: rows, samples"),
    ],
)
def test_refused(reference: str, args: dict[str, object], code: int, says: str) -> None:
    with pytest.raises(JobRefused, match=says) as refused:
        load_task(reference, args)
    assert refused.value.code == code


def test_what_user_code_raises_goes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        load_task("their_bug:Line")


def test_a_class_of_the_user_s_own_is_a_task() -> None:
    feed = Alone(Training(epochs=2, batch_size=8))
    session = run_task(load_task("their_task:Line", {"size": 3}), feed)
    assert session.finished
    assert len(feed.losses) == 6
    assert feed.metrics == [(6, {})]


def test_model_must_be_a_module() -> None:
    with pytest.raises(JobRefused, match="returned str"):
        run_task(load_task("their_task:Wrong"), Alone(Training(steps=1)))


def test_same_seed_same_model_and_losses() -> None:
    losses = []
    for seed in (1, 1, 2):
        torch.rand(3)
        feed = Alone(Training(steps=4, batch_size=8, seed=seed))
        run_task(load_task("their_task:Line"), feed)
        losses.append(feed.losses)
    assert losses[0] == losses[1] != losses[2]


def test_built_in_by_reference() -> None:
    assert isinstance(load_task("deepseek_runtime.tasks.tally:Tally", {"rows": 4, "samples": 10}), Tally)
