"""Who may start a job in a state folder, when several commands want to at once."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from builders.left_jobs import left_job
from deepseek_operator.api.load import dump_job
from deepseek_operator.launch import StartRefused, start
from deepseek_operator.state_folder import Control, StateFolder
from deepseek_operator.supervisor import _Wanted


@pytest.fixture
def folder() -> StateFolder:
    return left_job()


def manifest(folder: StateFolder, tmp_path: Path) -> Path:
    file = tmp_path / "job.yaml"
    file.write_text(dump_job(folder.job()))
    return file


def test_waits_for_a_job_that_is_only_being_started(folder: StateFolder) -> None:
    lock = folder.take_lock()
    assert lock is not None
    assert not folder.wait(0.0)
    threading.Timer(0.2, folder.let_go, [lock]).start()
    assert folder.wait(30.0)


@pytest.mark.parametrize("replace,resume", [(True, False), (False, True), (False, False)])
def test_a_job_that_is_just_being_started_is_let_be(
    folder: StateFolder, tmp_path: Path, replace: bool, resume: bool
) -> None:
    file = manifest(folder, tmp_path)
    lock = folder.take_lock()
    assert lock is not None
    with pytest.raises(StartRefused, match="another command is just starting the job digits") as refused:
        start(file, replace=replace, resume=resume)
    assert "dsj watch digits" in refused.value.hint
    assert not folder.control_file.exists()
    folder.let_go(lock)


def test_what_was_asked_of_a_job_that_was_replaced_is_void(folder: StateFolder) -> None:
    old = folder.uid()
    assert folder.ask(of=old, suspend=True, kill=True)
    assert folder.control().kill
    new = folder.identity().model_copy(update={"uid": "u2"})
    folder.identity_file.write_text(new.model_dump_json())
    assert folder.control() == Control()
    assert not _Wanted(folder).intent().suspend
    assert not folder.ask(of=old, suspend=True)
    assert folder.ask(workers=2)
    assert folder.control() == Control(uid="u2", workers=2)


def test_a_lock_that_was_deleted_while_it_was_opened_is_none(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def slow(descriptor: int, how: int) -> None:
        tries.append(descriptor)
        if len(tries) == 1:
            folder.lock_file.unlink()  # `dsj delete`, which held it
        fcntl_flock(descriptor, how)

    fcntl_flock = fcntl.flock
    monkeypatch.setattr("deepseek_operator.state_folder.fcntl.flock", slow)
    lock = folder.take_lock()
    assert lock is not None
    assert len(tries) == 2
    assert os.fstat(lock).st_ino == folder.lock_file.stat().st_ino
    assert folder.take_lock() is None
    folder.let_go(lock)


def test_a_folder_that_was_deleted_while_its_lock_was_opened_is_made_again(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = folder.take_lock()
    assert held is not None
    opened = []
    os_open = os.open

    def late(path: Path, how: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        opened.append(path)
        if len(opened) == 1:
            folder.remove(held)
        return os_open(path, how, mode, dir_fd=dir_fd)

    monkeypatch.setattr("deepseek_operator.state_folder.os.open", late)
    lock = folder.take_lock()
    assert lock is not None
    assert [path.name for path in folder.path.iterdir()] == ["lock"]
    folder.remove(lock)
    assert not folder.path.exists()


def test_a_start_that_fails_leaves_no_folder(
    folder: StateFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = manifest(folder, tmp_path)
    lock = folder.take_lock()
    assert lock is not None
    folder.remove(lock)

    def broken(self: StateFolder, status: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(StateFolder, "save_status", broken)
    with pytest.raises(ValueError, match="no"):
        start(file)
    assert not folder.path.exists()


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = manifest(left_job(), tmp_path)
    (tmp_path / "home").write_text("a file")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    with pytest.raises(StartRefused, match=r"folder .*/home/dsj/digits cannot be written") as refused:
        start(file)
    assert "XDG_STATE_HOME" in refused.value.hint
    assert refused.value.code == 1


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored of a job is JSON and YAML, which hold UTF-8 alone."""
    file = manifest(left_job(), tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", os.fsdecode(os.fsencode(tmp_path) + b"/h\xff"))
    with pytest.raises(StartRefused, match=r"has a name that is no UTF-8"):
        start(file)
    assert [path for path in tmp_path.iterdir() if path.name.startswith("h")] == []
