"""Mistakes in user code, on real members: the message names what to change, the code says whose mistake it is,
nothing is tried in vain, nothing is left behind."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from builders.real_jobs import LINE, Jobs, condition, ended, events, step_of, told
from deepseek_operator.api.status import JobStatus
from deepseek_operator.executors.processes import start_ticks
from deepseek_operator.state_folder import StateFolder

HEAD = "import torch, deepseek_runtime\nfrom torch import nn\n"
PARTS = HEAD + (
    "model = nn.Linear(4, 1)\n"
    "optimizer = torch.optim.SGD(model.parameters(), lr=0.01)\n"
    "data = [(torch.full((4,), i / 64), torch.tensor([i / 16])) for i in range(64)]\n"
)
"""The beginning of a user's script: five lines."""
LOOP = (
    "session = deepseek_runtime.join(model, optimizer, data)\n"
    "for x, y in session:\n"
    "    session.backward(nn.functional.mse_loss(model(x), y))\n"
    "    session.step()\n"
)


class Bad(NamedTuple):
    code: str
    exit_code: int
    said: tuple[str, ...]
    """Each is in the message."""
    training: Mapping[str, Any] = {}


CODE: dict[str, Bad] = {
    "raises at once": Bad(
        LINE + "    def loss(self, model, batch):\n        raise ValueError('no labels here')\n",
        65,
        ("worker 0: mine.py, line 19, in loss: ValueError: no labels here",),
    ),
    "raises when imported": Bad(LINE + "undefined\n", 65, ("mine.py, line 18: NameError: name 'undefined'",)),
    "is no Python": Bad(LINE + "    def\n", 65, ("mine.py, line 18: SyntaxError",)),
    "wrong shape": Bad(
        LINE + "    def model(self):\n        return nn.Linear(5, 1)\n",
        65,
        ("mine.py, line 12, in loss: RuntimeError", "4", "5"),
    ),
    "loss is no number": Bad(
        LINE + "    def loss(self, model, batch):\n        return model(batch[0])\n",
        65,
        ("backward(loss) needs a tensor of one element", "mean"),
    ),
    "nothing to train": Bad(
        LINE + "    def model(self):\n        return nn.Flatten()\n", 65, ("worker 0: ", "no parameter")
    ),
}
DATA: dict[str, Bad] = {
    "empty data set": Bad(LINE + "    def dataset(self, split):\n        return []\n", 65, ("data set list is empty",)),
    "iterable data set": Bad(
        LINE + "    def dataset(self, split):\n        return iter(range(64))\n",
        65,
        ("can only be iterated", "__len__ and __getitem__"),
    ),
}
NAMES: dict[str, Bad] = {
    "missing module": Bad(LINE, 66, ("there is no module 'yours'", "training.code"), {"task": "yours:Line"}),
    "missing import": Bad(
        "import numpyy\n" + LINE, 66, ("mine imports 'numpyy', which is not installed", "environment")
    ),
    "missing class": Bad(LINE, 66, ("mine has no class Lime; did you mean Line?",), {"task": "mine:Lime"}),
    "wrong arguments": Bad(LINE, 64, ("training.args do not fit mine:Line", "'rows'"), {"args": {"rows": 8}}),
    "wrong kind of argument": Bad(
        LINE + "    def __init__(self, width):\n        self.width = width + 1\n",
        65,
        ("mine.py, line 19, in __init__: TypeError",),
        {"args": {"width": "8"}},
    ),
    "no task": Bad("class Line:\n    def model(self): pass\n", 65, ("has no loss and no dataset",)),
}
SCRIPTS: dict[str, Bad] = {
    "never joins": Bad(PARTS, 65, ("train.py ended without calling deepseek_runtime.join",), {"script": "train.py"}),
    "leaves the loop early": Bad(
        PARTS + LOOP + "    if session.global_step == 3: break\n",
        65,
        ("the script ended while the job still had ranges", "loop over the session until it ends"),
        {"script": "train.py"},
    ),
    "steps by itself": Bad(
        PARTS + LOOP.replace("session.step()", "optimizer.step()"),
        65,
        ("session.backward(loss) and session.step()", "instead of"),
        {"script": "train.py"},
    ),
    "a scheduler of its own": Bad(
        PARTS + "schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10)\n" + LOOP + "    schedule.step()\n",
        65,
        ("training.optimizer.schedule",),
        {"script": "train.py"},
    ),
    "exits by itself": Bad(PARTS + "exit(3)\n", 65, ("exit(3)",), {"script": "train.py"}),
}


def start(jobs: Jobs, bad: Bad, **more: Any) -> StateFolder:
    script = "script" in bad.training
    training = {"steps": 1000, **({} if script or "task" in bad.training else {"task": "mine:Line"}), **bad.training}
    return jobs.start(training, code={"train.py" if script else "mine.py": bad.code}, **more)


def failed(folder: StateFolder, bad: Bad) -> JobStatus:
    """It has ended as it must."""
    status = ended(folder)
    assert (status.phase, status.exit_code) == ("Failed", bad.exit_code), told(folder)
    for part in bad.said:
        assert part in status.message, status.message
    for ours in ("Traceback", "deepseek_runtime/", "\n"):
        assert ours not in status.message
    assert condition(status, "Failed")[2] == status.message
    return status


@pytest.mark.parametrize("cases", [CODE, DATA, NAMES, SCRIPTS], ids=["code", "data", "names", "scripts"])
def test_the_user_s_mistake_ends_the_job(jobs: Jobs, subtests: pytest.Subtests, cases: dict[str, Bad]) -> None:
    """Side by side: most of the time goes by while something is imported or waited for."""
    folders = {name: start(jobs, bad, name=name.lower().replace(" ", "-")) for name, bad in cases.items()}
    for name, bad in cases.items():
        with subtests.test(name):
            status = failed(folders[name], bad)
            assert status.restarts_total == 0
            assert status.incarnations == {"server/0": 0, "worker/0": 0}


def test_what_user_code_has_started_ends_with_it(jobs: Jobs) -> None:
    code = "import subprocess\nfrom pathlib import Path\n" + LINE
    code += "    def loss(self, model, batch):\n"
    code += "        Path(__file__).with_name('pid').write_text(str(subprocess.Popen(['sleep', '600']).pid))\n"
    code += "        raise ValueError('no labels here')\n"
    failed(start(jobs, Bad(code, 65, ())), Bad(code, 65, ("no labels here",)))
    (written,) = jobs.root.rglob("pid")
    assert start_ticks(int(written.read_text())) is None


def test_an_error_deep_in_the_job_is_tried_once_more(jobs: Jobs) -> None:
    """The same range and the same exception end two members: nobody will get past it."""
    raises = "    if session.global_step == 500: raise KeyError('sample 500')\n"
    bad = Bad(PARTS + LOOP.replace("    session.back", raises + "    session.back"), 65,
              ("train.py, line 8: KeyError: 'sample 500'",), {"script": "train.py"})  # fmt: skip
    folder = start(jobs, bad, workers=2)
    status = failed(folder, bad)
    assert status.restarts_total == 1
    assert 0 < step_of(status) < 600


def test_an_error_that_does_not_come_again_costs_one_restart(jobs: Jobs) -> None:
    once = (
        "    from pathlib import Path\n"
        "    if session.global_step >= 100 and not Path('raised').exists():\n"
        "        Path('raised').touch()\n"
        "        raise OSError('the disk was away')\n"
    )
    script = PARTS + LOOP.replace("    session.back", once + "    session.back")
    folder = jobs.start({"script": "train.py", "steps": 200}, code={"train.py": script})
    status = ended(folder)
    assert (status.phase, status.exit_code, status.restarts_total) == ("Succeeded", 0, 1), told(folder)
    assert any("the disk was away" in text for text in events(status, "MemberLost"))


def test_an_evaluation_that_raises_ends_the_job(jobs: Jobs) -> None:
    """Nobody could evaluate: a job that says nothing of it would look as if it had been."""
    code = LINE + "    def evaluate(self, model):\n        raise ZeroDivisionError('no test data')\n"
    bad = Bad(code, 65, ("mine.py, line 19, in evaluate: ZeroDivisionError: no test data",))
    folder = start(jobs, bad._replace(training={"evaluation": {"everySteps": 100}}), workers=2)
    assert failed(folder, bad).restarts_total <= 1


def test_models_that_differ_between_workers(jobs: Jobs) -> None:
    code = LINE + "    def model(self):\n        w = 8 + int(os.environ['DSJ_INDEX'])\n"
    code += "        return nn.Sequential(nn.Linear(4, w), nn.Linear(w, 1))\n"
    bad = Bad(code, 65, ("this worker's model is not the job's", "0.weight", "(8, 4)", "(9, 4)"))
    status = failed(start(jobs, bad, workers=2), bad)
    assert status.last_failure is not None
    assert status.last_failure.reason == "ModelsDiffer"


def test_data_sets_that_differ_between_workers(jobs: Jobs) -> None:
    code = LINE + "    def dataset(self, split):\n        n = 64 + int(os.environ['DSJ_INDEX'])\n"
    code += "        return TensorDataset(torch.zeros(n, 4), torch.zeros(n, 1))\n"
    bad = Bad(code, 65, ("has 6", "samples, the job's has 6", "the same data"))
    status = failed(start(jobs, bad, workers=2), bad)
    assert status.last_failure is not None
    assert status.last_failure.reason == "DataSetsDiffer"


def not_a_number(from_step: int) -> str:
    return PARTS + LOOP.replace(
        "    session.back", f"    if session.global_step >= {from_step}: y = y * float('nan')\n    session.back"
    )


def test_a_loss_that_is_not_a_number_from_some_step_on(jobs: Jobs) -> None:
    """Single ranges are skipped; a job that gets nothing else any more has failed, and says from where on."""
    bad = Bad(not_a_number(300), 65, ("from step 300 on", "nan", "training.optimizer.lr"), {"script": "train.py"})
    folder = start(jobs, bad, workers=2, checkpoint={"everySteps": 100})
    status = failed(folder, bad)
    assert status.restarts_total == 0
    assert events(status, "RangeSkipped")
    assert status.progress is not None
    assert status.progress.checkpoint is not None
    assert status.progress.checkpoint.step >= 200
    assert condition(status, "Failed")[1] == "NothingFinite"


def test_a_short_job_of_skipped_ranges_has_not_succeeded(jobs: Jobs) -> None:
    bad = Bad(not_a_number(0), 65, ("from step 0 on", "nan"), {"script": "train.py", "steps": 16})
    failed(start(jobs, bad), bad)
