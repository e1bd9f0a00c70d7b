"""One worker, one server, nothing compressed, one batch a push: what a job exports is what plain PyTorch trains."""

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from builders import nets
from builders.nets import MixedNet, mixed_net, plainly, two_groups
from builders.real_jobs import Jobs, ended, told
from deepseek_operator.state_folder import StateFolder
from deepseek_runtime.checkpoint.export import export

STEPS, SAMPLES = 200, 160
OPTIMIZERS: dict[str, Callable[[MixedNet], torch.optim.Optimizer]] = {
    "sgd": lambda model: torch.optim.SGD(two_groups(model), lr=0.05, momentum=0.9),
    "adamw": lambda model: torch.optim.AdamW(two_groups(model), lr=0.01),
}
TRAIN = f"""\
import sys
import torch
import deepseek_runtime
from nets import loss_of, mixed_net, sequences, two_groups

model = mixed_net()
if sys.argv[1:] == ["--optimizer", "sgd"]:
    optimizer = torch.optim.SGD(two_groups(model), lr=0.05, momentum=0.9)
else:
    optimizer = torch.optim.AdamW(two_groups(model), lr=0.01)
session = deepseek_runtime.join(model, optimizer, sequences({SAMPLES}))
for batch in session:
    session.backward(loss_of(session.model, batch))
    session.step()
"""


def start(jobs: Jobs, name: str) -> StateFolder:
    return jobs.start(
        {
            "script": "train.py",
            "args": {"optimizer": name},
            "steps": STEPS,
            "batchSize": 8,
            "update": {"localSteps": 1},
            "compression": {"method": "none"},
        },
        name=name,
        code={"train.py": TRAIN, "nets.py": inspect.getsource(nets)},
    )


def test_the_exported_model_is_that_of_plain_pytorch(jobs: Jobs, subtests: pytest.Subtests, tmp_path: Path) -> None:
    folders = {name: start(jobs, name) for name in OPTIMIZERS}
    for name, folder in folders.items():
        with subtests.test(name):
            same(folder, name, tmp_path / f"{name}.safetensors")


def same(folder: StateFolder, name: str, exported: Path) -> None:
    status = ended(folder)
    assert (status.phase, status.restarts_total) == ("Succeeded", 0), told(folder)
    result = export(str(folder.checkpoints), exported)
    assert result.step == STEPS
    job = mixed_net()
    job.load_state_dict(load_file(result.path))

    plain = mixed_net()
    plainly(plain, OPTIMIZERS[name](plain), SAMPLES, STEPS)
    before, expected, trained = mixed_net().state_dict(), plain.state_dict(), job.state_dict()
    floats = [key for key, value in before.items() if value.is_floating_point()]
    largest_change = max(float((expected[key] - before[key]).abs().max()) for key in floats)
    assert largest_change > 0.1
    for key in floats:
        assert float((expected[key] - trained[key]).abs().max()) <= 1e-5 * largest_change, key
    for key in ("seen", "norm.num_batches_tracked", "mask"):
        assert torch.equal(expected[key], trained[key]), key
    assert torch.equal(trained["frozen.weight"], before["frozen.weight"])
