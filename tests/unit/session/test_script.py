"""A user's script as a worker of a job: its arguments, its folder, its end."""

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import Training
from deepseek_runtime.feed import JobRefused
from deepseek_runtime.script import command_line, run_script

EXAMPLE = Path(__file__).parents[3] / "examples" / "script" / "train.py"
TRAIN = """
    import argparse, pathlib, sys
    import torch
    import deepseek_runtime
    from nearby import SIZE

    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float)
    parser.add_argument("--deep", action="store_true")
    args = parser.parse_args()
    assert __name__ == "__main__" and args.deep and pathlib.Path("beside.txt").is_file()
    model = torch.nn.Linear(SIZE, 1)
    session = deepseek_runtime.join(
        model, torch.optim.SGD(model.parameters(), lr=args.rate), torch.ones(40, SIZE), steps=99
    )
    for batch in session:
        session.backward(model(batch).square().mean())
        session.step()
        if "stop" in sys.argv:
            break
    {end}
"""


def write(folder: Path, end: str = "") -> Path:
    (folder / "nearby.py").write_text("SIZE = 3\n")
    (folder / "beside.txt").write_text("here\n")
    script = folder / "train.py"
    script.write_text(dedent(TRAIN).format(end=end))
    return script


@pytest.mark.parametrize("end", ["", "sys.exit()", "sys.exit(0)"])
def test_a_script_trains_the_job(tmp_path: Path, end: str) -> None:
    feed = Alone(Training(steps=7, batch_size=4, optimizer=None))
    before = (sys.argv, list(sys.path), Path.cwd())
    session = run_script(write(tmp_path, end), {"rate": 0.1, "deep": True}, feed)
    assert session.finished
    assert len(feed.losses) == 7
    assert feed.losses[-1] < feed.losses[0]
    assert (sys.argv, list(sys.path), Path.cwd()) == before


def test_a_script_in_a_folder_of_its_code(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    script = write(tmp_path).rename(tmp_path / "src" / "train.py")
    feed = Alone(Training(steps=2, batch_size=4, optimizer=None, code=str(tmp_path)))
    assert run_script(script, {"rate": 0.1, "deep": True}, feed).finished


def test_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    feed = Alone(Training(steps=60, script="train.py"))
    session = run_script(EXAMPLE, {"lr": 0.005}, feed)
    assert session.metrics["accuracy"] > 0.8
    assert "accuracy" in capsys.readouterr().out


def test_two_runs_are_the_same(tmp_path: Path) -> None:
    losses = []
    for _ in range(2):
        feed = Alone(Training(steps=4, batch_size=4, optimizer=None, seed=3))
        run_script(write(tmp_path), {"rate": 0.1, "deep": True}, feed)
        losses.append(feed.losses)
    assert losses[0] == losses[1]


def test_an_exit_code_of_the_user_s_goes_through(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as exit:
        run_script(write(tmp_path, "sys.exit(3)"), {"rate": 0.1, "deep": True}, Alone(Training(steps=1)))
    assert exit.value.code == 3


def test_a_script_that_leaves_early_is_seen(tmp_path: Path) -> None:
    script = write(tmp_path)
    script.write_text(script.read_text().replace('"stop" in sys.argv', "True"))
    assert not run_script(script, {"rate": 0.1, "deep": True}, Alone(Training(steps=9))).finished


def test_no_script(tmp_path: Path) -> None:
    with pytest.raises(JobRefused, match=r"no file train\.py") as refused:
        run_script(tmp_path / "train.py", {}, Alone(Training(steps=1)))
    assert refused.value.code == 66


def test_a_script_that_never_joins(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("print('hello')\n")
    with pytest.raises(JobRefused, match=r"train\.py ended without calling deepseek_runtime\.join") as refused:
        run_script(script, {}, Alone(Training(steps=1)))
    assert refused.value.code == 65


def test_command_line() -> None:
    args = {"lr": 0.1, "fast": True, "slow": False, "none": None, "sizes": [1, 2], "extra": {"a": 1}}
    assert command_line(args) == ["--lr", "0.1", "--fast", "--sizes", "1", "2", "--extra", '{"a": 1}']
