"""Commands on jobs that do not run: answers, exit codes, nearest names; and no traceback of ours."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from builders import snapshots
from builders.manifests import RIGHT, with_training
from deepseek_operator import jobs_here, launch
from deepseek_operator.api.load import dump_job
from deepseek_operator.api.status import JobStatus
from deepseek_operator.cli.main import SECTIONS, dsj
from deepseek_operator.cli.reference import reference
from deepseek_operator.state_folder import Identity, StateFolder, default_state_root

ROOT = Path(__file__).parents[3]
COMMANDS = dsj.list_commands(None)  # type: ignore[arg-type]


def call(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(dsj, list(arguments), input=input)


def lay(status: JobStatus | None = None, name: str = "digits") -> StateFolder:
    """A job's folder as a supervisor leaves it."""
    folder = StateFolder(default_state_root() / name)
    folder.logs.mkdir(parents=True)
    folder.identity_file.write_text(Identity(uid="u1", generation="g1").model_dump_json())
    folder.job_file.write_text(dump_job(snapshots.digits_job()))
    folder.save_status(status if status is not None else snapshots.failed().status)
    return folder


@pytest.mark.parametrize("command", ["status", "why", "logs", "watch", "wait", "events", "stop", "delete"])
def test_a_job_that_does_not_exist(command: str) -> None:
    result = call(command, "digts")
    assert (result.exit_code, result.stdout) == (66, "")
    assert result.stderr.startswith("error: there is no job digts in ")
    assert "hint: no job was started here yet" in result.stderr
    lay()
    assert "hint: did you mean digits?" in call(command, "digts").stderr
    assert "hint: there are: digits" in call(command, "xyz").stderr


@pytest.mark.parametrize("name", ["../digits", "", ".", "/", "digits/../digits"])
def test_names_are_no_paths(name: str) -> None:
    lay()
    assert call("delete", name, "--yes").exit_code == 66
    assert jobs_here.names() == ["digits"]


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["run"], ["run", "a", "--resume", "--replace"], ["status", "--nope"], ["scale", "digits"],
     ["scale", "digits", "--workers", "many"], ["logs", "digits", "--role", "chief"], [],
     ["wait", "digits", "--timeout", "nan"], ["stop", "digits", "--timeout", "nan"],
     ["wait", "digits", "--timeout", "inf"], ["stop", "digits", "--timeout", "-1"]],
)  # fmt: skip
def test_usage_errors_exit_64(arguments: list[str]) -> None:
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (64, "")
    assert "Usage: " in result.stderr


def test_manifest_errors_have_their_own_codes(tmp_path: Path) -> None:
    missing = call("run", str(tmp_path / "job.yaml"))
    assert missing.exit_code == 66
    assert "cannot be read" in missing.stderr
    bad = tmp_path / "bad.yaml"
    bad.write_text(with_training("batch_size: 32"))
    wrong = call("run", str(bad))
    assert wrong.exit_code == 78
    assert "did you mean batchSize?" in wrong.stderr
    assert call("run", "-", input="a: [").exit_code == 78
    assert jobs_here.names() == []


def test_another_name_must_be_one(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(RIGHT)
    result = call("run", str(file), "--name", "Not_A_Name")
    assert result.exit_code == 64
    assert "small letters" in result.stderr


def test_a_job_that_was_there_before(tmp_path: Path) -> None:
    lay()
    file = tmp_path / "job.yaml"
    file.write_text(RIGHT)
    result = call("run", str(file))
    assert result.exit_code == 64
    assert "a job digits was started here before (Failed)" in result.stderr
    assert "hint: --resume goes on with it, --replace deletes it" in result.stderr
    result = call("run", "--resume", "digts")
    assert (result.exit_code, result.stderr[:26]) == (66, "error: there is no job dig")
    assert "did you mean digits?" in result.stderr


def test_no_jobs() -> None:
    assert call("jobs").stdout == f"no jobs in {default_state_root()}\n"
    assert json.loads(call("status", "-o", "json").stdout) == {"jobs": []}


def test_table_of_jobs_with_one_that_cannot_be_read() -> None:
    lay()
    lay(name="broken").status_file.write_text("{")
    result = call("jobs")
    assert result.exit_code == 0
    header, broken, digits = result.stdout.splitlines()
    assert header.split()[:3] == ["NAME", "PHASE", "STEP"]
    assert broken.split()[:2] == ["broken", "Unreadable"]
    assert digits.split()[:3] == ["digits", "Failed", "1200/5000"]
    assert "Unreadable" not in result.stderr
    assert call("status", "broken").exit_code == 1
    assert "Traceback" not in call("status", "broken").stderr


def test_status_why_events_wait_stop_of_a_failed_job() -> None:
    lay()
    assert "Last failure\n" in call("status", "digits").stdout
    whole = json.loads(call("status", "digits", "-o", "json").stdout)
    assert (whole["phase"], whole["attended"], whole["status"]["lastFailure"]["role"]) == ("Failed", False, "worker")
    assert call("why", "digits").stdout == "digits has failed: worker 1: train.py line 3: KeyError: 'label'\n"
    assert json.loads(call("why", "digits", "-o", "json").stdout)["reason"] == "UserCodeRaised"
    assert call("events", "digits").stdout.count("CheckpointSaved") == 2
    assert len(json.loads(call("events", "digits", "-o", "json").stdout)["events"]) == 6
    waited = call("wait", "digits", "-o", "json")
    assert (waited.exit_code, json.loads(waited.stdout)["exitCode"]) == (65, 65)
    assert call("watch", "digits").exit_code == 65
    assert call("stop", "digits").stdout == "digits did not run: Failed, newest checkpoint: step 1000\n"
    assert call("scale", "digits", "--workers", "2").exit_code == 64


def test_a_suspended_job_is_not_waited_for() -> None:
    folder = lay(snapshots.suspended().status)
    result = call("wait", "digits", "--timeout", "30")
    assert (result.exit_code, result.stdout) == (75, "digits is suspended at step 1200\n")
    assert call("scale", "digits", "--workers", "2").exit_code == 0
    assert folder.control().workers == 2


def test_a_job_that_goes_on_is_not_called_by_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor has not looked yet, so the status is as the launch left it."""
    folder = lay(snapshots.suspended().status)
    monkeypatch.setattr(launch, "resume", lambda name: launch._reopen(folder))
    result = call("run", "--resume", "digits", "--detach")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1] == "next: dsj watch digits   dsj logs digits -f   dsj stop digits"
    assert (folder.status().phase, folder.status().message) == ("Starting", "")


def test_a_job_whose_supervisor_went_while_it_drained() -> None:
    lay(snapshots.draining().status.model_copy(update={"members": ()}))
    said = call("status", "digits").stdout
    first = said.splitlines()[0]
    assert first.endswith("digits/logs/supervisor.log)")
    assert first.startswith("digits  ! Interrupted: digits ended without its supervisor's word")
    assert "drains" not in said


def test_a_job_whose_supervisor_is_gone() -> None:
    lay(snapshots.snapshot().status.model_copy(update={"members": ()}))
    assert json.loads(call("status", "digits", "-o", "json").stdout)["phase"] == "Interrupted"
    assert call("wait", "digits").exit_code == 1
    assert "dsj run --resume digits" in call("watch", "digits").stdout


def test_delete() -> None:
    folder = lay()
    (folder.checkpoints / "t1").mkdir(parents=True)
    lock = folder.take_lock()
    assert lock is not None
    refused = call("delete", "digits")
    assert refused.exit_code == 1
    assert "hint: `dsj stop digits` first" in refused.stderr
    folder.let_go(lock)
    assert call("delete", "digits").stdout == "digits is deleted\n"
    assert not folder.path.exists()
    assert call("delete", "digits").exit_code == 66


def test_hints_stay_out_of_json() -> None:
    lay()
    assert "next: dsj why digits" in call("status", "digits").stderr
    for arguments in (["status", "digits"], ["jobs"], ["events", "digits"], ["why", "digits"], ["wait", "digits"]):
        assert call(*arguments, "-o", "json").stderr == ""


def test_an_error_of_our_own_is_a_line_and_a_place_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError("three\nlines")

    lay()
    monkeypatch.setattr("deepseek_operator.jobs_here.look", broken)
    result = call("status", "digits")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr
    log = default_state_root() / "errors.log"
    assert result.stderr.splitlines()[0] == "error: ZeroDivisionError in dsj itself: three lines"
    assert str(log) in result.stderr
    assert "ZeroDivisionError" in log.read_text()
    assert "Traceback" in call("--debug", "status", "digits").stderr


@pytest.mark.parametrize("number,remedy", [(errno.EROFS, "XDG_STATE_HOME"), (errno.ENOSPC, "make room")])
def test_what_cannot_be_written_comes_with_a_remedy(number: int, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number), "/home/x")

    lay()
    monkeypatch.setattr("deepseek_operator.jobs_here.look", broken)
    result = call("status", "digits")
    assert (result.exit_code, "/home/x" in result.stderr) == (1, True)
    assert remedy in result.stderr


def test_names_are_completed() -> None:
    lay()
    lay(name="bytelm")
    environment = {"_DSJ_COMPLETE": "bash_complete", "COMP_WORDS": "dsj status di", "COMP_CWORD": "2"}
    done = CliRunner().invoke(dsj, [], env=environment, prog_name="dsj")
    assert done.stdout == "plain,digits\n"
    assert "_DSJ_COMPLETE" in call("completion", "bash").stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_a_short_first_line(name: str) -> None:
    result = call(name, "-h")
    assert result.exit_code == 0
    command = dsj.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert not command.get_short_help_str(70).endswith("..."), "the first sentence is cut in the list of commands"


def test_the_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert page == reference(), "run: python -m deepseek_operator.cli.reference > docs/reference/cli.md"


def test_a_new_module_of_commands_is_listed() -> None:
    """Each module with a command of its own name is reached by `dsj`."""
    folder = ROOT / "operator" / "deepseek_operator" / "cli"
    commands = {file.stem for file in folder.glob("*.py") if "\n@click.command(" in file.read_text(encoding="utf-8")}
    assert commands <= {name for _, names in SECTIONS for name in names}


def test_no_command_imports_torch_or_what_is_slow() -> None:
    names = " ".join(COMMANDS)
    script = (
        "import sys, importlib\n"
        f"for name in '{names}'.split(): importlib.import_module('deepseek_operator.cli.' + name)\n"
        "print(*sorted({'torch', 'kubernetes', 'kopf', 'grpc', 'matplotlib', 'sklearn', 'numba'} & set(sys.modules)))"
    )
    path = os.pathsep.join([str(ROOT / "operator"), str(ROOT / "runtime")])
    environment = {"PYTHONPATH": path, "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
