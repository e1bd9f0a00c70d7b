"""The shortest way, with everything real: a script with its folder, followed, its result and its model."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from deepseek_operator import run
from deepseek_operator.cli.main import dsj
from deepseek_runtime.tasks.digits import Digits

SCRIPT = """\
import net
import torch
import deepseek_runtime

model = net.model()
session = deepseek_runtime.join(model, torch.optim.SGD(model.parameters(), lr=0.05), net.DATA, evaluate=net.evaluate)
for x, y in session:
    session.backward(torch.nn.functional.mse_loss(model(x), y))
    session.step()
"""
NET = """\
import torch
from torch.utils.data import TensorDataset

X = torch.linspace(-1, 1, 256).reshape(64, 4)
DATA = TensorDataset(X, X.sum(1, keepdim=True))

def model():
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1))

def evaluate(model):
    return {"loss": float(torch.nn.functional.mse_loss(model(DATA.tensors[0]), DATA.tensors[1]))}
"""


def test_a_script_in_four_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "net.py").write_text(NET)
    job = run(tmp_path / "train.py", workers=2, epochs=4, batch_size=8)
    lines = list(job.logs(follow=True))
    result = job.result()
    assert {"server-0-0", "worker-0-0", "worker-1-0"} <= {line.split(" | ")[0].strip() for line in lines}
    assert result.steps == 32
    assert (result.audit.samples_total, result.audit.exact) == (4 * 64, True)
    monkeypatch.syspath_prepend(str(tmp_path))
    import net  # type: ignore[import-not-found]

    bare = net.model()
    bare.load_state_dict(load_file(result.model), strict=True)
    with torch.no_grad():
        assert net.evaluate(bare.eval())["loss"] == pytest.approx(result.metrics["loss"], rel=1e-5)


def test_the_exported_digits_score_what_the_job_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    evaluated = {"training": {"evaluation": {"everySteps": 80}}}
    job = run("deepseek_runtime.tasks.digits:Digits", steps=160, spec=evaluated)
    reported = job.result().metrics
    answer = json.loads(CliRunner().invoke(dsj, ["export", "digits", "-o", "json"]).stdout)
    assert (answer["step"], answer["metrics"]) == (160, reported)
    task = Digits()
    bare = task.model()
    bare.load_state_dict(load_file(answer["file"]), strict=True)
    with torch.no_grad():
        scores = task.evaluate(bare.eval())
    assert scores["accuracy"] == reported["accuracy"]
    assert scores["loss"] == pytest.approx(reported["loss"], rel=1e-4)
    assert scores["accuracy"] > 0.5
    drawn = json.loads(CliRunner().invoke(dsj, ["plot", "digits", "-o", "json"]).stdout)
    assert Path(drawn["file"]).read_bytes().startswith(b"\x89PNG")
    assert [one["step"] for one in drawn["jobs"][0]["evaluations"]][-1] == 160
