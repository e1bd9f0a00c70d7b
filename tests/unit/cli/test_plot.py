"""`dsj plot`: what is in the picture, and what the command says of it."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from builders import snapshots
from builders.left_jobs import left_job, trained
from deepseek_operator.api.status import Recovery
from deepseek_operator.cli.main import dsj
from deepseek_operator.cli.picture import COLOURS, figure_of
from deepseek_operator.cli.plot import draw
from deepseek_operator.curves import Curves
from deepseek_operator.jobs_here import JobHere

PNG = b"\x89PNG\r\n\x1a\n"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(dsj, ["plot", *arguments])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_roll_back() -> Curves:
    # The server was lost just before the roll-back, which is at the end of step 160.
    status = snapshots.succeeded().status.model_copy(
        update={"recoveries": (Recovery(role="server", index=1, at_step=156, lost_at=20.5, seconds=1.0),)}
    )
    return JobHere(left_job("digits", status, trained(roll_back_at=160))).curves()


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_a_picture_of_one_job(here: Path) -> None:
    left_job(rows=trained())
    result = call("digits")
    assert result.exit_code == 0
    assert result.stdout == "digits.png: digits: 25 ranges, 2 evaluations\n"
    assert result.stderr == "next: dsj tensorboard digits   dsj export digits\n"
    assert (here / "digits.png").read_bytes().startswith(PNG)


def test_axes_say_what_they_show() -> None:
    figure = figure_of([with_roll_back()])
    loss_steps, loss_bytes, accuracy_steps, accuracy_bytes = figure.axes
    assert (loss_steps.get_ylabel(), accuracy_steps.get_ylabel()) == ("training loss", "evaluation: accuracy")
    assert accuracy_steps.get_xlabel() == "steps (batches done)"
    assert accuracy_bytes.get_xlabel() == "bytes on the wire, both ways"
    assert (loss_steps.get_yscale(), accuracy_steps.get_yscale()) == ("log", "linear")
    assert accuracy_bytes.get_xscale() == "linear"
    assert accuracy_steps.get_ylim()[1] >= 1.0
    figure.draw_without_rendering()
    assert any(label.get_text().endswith("%") for label in accuracy_steps.get_yticklabels())
    assert loss_bytes.get_xlim()[1] > 150_000


def test_the_result_stands_in_the_title_and_at_the_last_evaluation() -> None:
    figure = figure_of([with_roll_back()])
    assert figure.get_suptitle() == "digits: step 192, accuracy 90.0%, 232 kB on the wire"
    assert texts(figure.axes[2]) == ["90.0%"]


def test_a_roll_back_is_shaded_its_line_broken_and_its_server_named() -> None:
    curves = with_roll_back()
    figure = figure_of([curves])
    loss_steps, loss_bytes, accuracy_steps, _ = figure.axes
    assert texts(loss_steps) == ["server 1 lost, back to step 128"]
    assert [round(patch.get_x()) for patch in loss_steps.patches] == [120]  # type: ignore[attr-defined]
    assert [round(patch.get_width()) for patch in loss_steps.patches] == [32]  # type: ignore[attr-defined]
    raw, mean, faint = loss_bytes.lines[:3]
    assert len(raw.get_xdata()) == len(curves.points) + 1  # type: ignore[arg-type]
    assert faint.get_alpha() == 0.35
    assert mean.get_alpha() is None
    hollow = accuracy_steps.lines[1]
    assert (hollow.get_markerfacecolor(), list(hollow.get_xdata())) == ("white", [160])  # type: ignore[arg-type]


def test_checkpoints_are_marked_once() -> None:
    figure = figure_of([with_roll_back()])
    triangles = [line for line in figure.axes[0].lines if line.get_marker() == "^"]
    assert [list(line.get_xdata()) for line in triangles] == [[80, 160, 160]]  # type: ignore[arg-type]
    assert [line for line in figure.axes[2].lines if line.get_marker() == "^"] == []


def test_the_legend_names_only_what_is_there() -> None:
    def labels(curves: Curves) -> list[str]:
        return [text.get_text() for text in figure_of([curves]).legends[0].get_texts()]

    always = ["loss of each push", "its running mean", "evaluation"]
    assert labels(with_roll_back()) == [*always, "given up in a roll-back", "server lost", "checkpoint"]
    left_job("calm", rows=[row for row in trained(72) if row.get("event") != "CheckpointSaved"])
    calm = JobHere(left_job("calmer", rows=trained(72))).curves()
    assert labels(calm) == ["loss of each push", "its running mean"]


def test_several_jobs_have_a_colour_each_and_no_labels(here: Path) -> None:
    folders = [left_job("sparse", rows=trained(roll_back_at=160)), left_job("dense", rows=trained(wire=9000))]
    both = [JobHere(folder).curves() for folder in folders]
    figure = figure_of(both)
    assert figure.get_suptitle() == "sparse, dense"
    assert texts(figure.axes[0]) == []
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["sparse", "dense"]
    colours = {to_rgba(line.get_color())[:3] for line in figure.axes[0].lines}
    assert colours == {to_rgba(COLOURS[0])[:3], to_rgba(COLOURS[1])[:3]}
    assert figure.axes[1].get_xscale() == "log"
    assert draw(both, here / "two.png").read_bytes().startswith(PNG)


def test_without_evaluations_there_is_one_row() -> None:
    left = left_job(rows=[row for row in trained() if "event" not in row])
    assert len(figure_of([JobHere(left).curves()]).axes) == 2


def test_losses_below_zero_and_flat_ones_stay_linear() -> None:
    falling = [{**row, "loss": -float(row["step"])} if "g" in row else row for row in trained()]
    flat = [{**row, "loss": 0.5} if "g" in row else row for row in trained()]
    for name, rows in (("falling", falling), ("flat", flat)):
        assert figure_of([JobHere(left_job(name, rows=rows)).curves()]).axes[0].get_yscale() == "linear"


def test_json(here: Path) -> None:
    left_job(rows=trained(roll_back_at=160))
    answer = json.loads(call("digits", "-f", "out.svg", "-o", "json").stdout)
    assert answer["file"] == str(here / "out.svg")
    (job,) = answer["jobs"]
    assert (job["name"], job["pushes"], job["step"], job["wireBytes"]) == ("digits", 25, 192, 232_000)
    assert job["rolledBack"] == [{"fromStep": 152, "toStep": 128, "pushes": 4}]
    assert [one["step"] for one in job["evaluations"]] == [80, 160]
    assert {mark["kind"] for mark in job["marks"]} == {"checkpoint", "roll-back"}
    assert (here / "out.svg").read_text().startswith("<?xml")


def test_what_cannot_be_drawn(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_job("empty")
    result = call("empty")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (66, "error: empty has trained nothing yet")
    left_job(rows=trained())
    assert call("digits", "-f", "digits.txt").exit_code == 64
    assert call("digits", "nojob").exit_code == 66
    assert call("").exit_code == 66
    missing = call("digits", "-f", "no/such/folder.png")
    assert (missing.exit_code, "Traceback" in missing.stderr) == (1, False)
    assert "error: no/such/folder.png cannot be written: No such file or directory" in missing.stderr
    assert "hint: name a folder that is there and yours to write: -f " in missing.stderr
    for module in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "deepseek_operator.cli.picture")
    result = call("digits")
    assert (result.exit_code, "pip install 'deepseek-operator[local]'" in result.stderr) == (66, True)
