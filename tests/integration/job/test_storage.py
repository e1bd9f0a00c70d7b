"""Trouble with the checkpoint storage, on real members: said at once where nothing can begin, survived where it can."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from builders.real_jobs import (
    LINE,
    SLOW_TALLY,
    TALLY,
    Jobs,
    condition,
    ended,
    events,
    newest_index,
    pid_of,
    pids,
    reached,
    signal_to,
    step_of,
    told,
    until,
)
from builders.store_servers import PASSWORD, USER, closed_port, webdav_server
from chaos.check import violations
from deepseek_operator.api.status import JobStatus
from deepseek_operator.state_folder import StateFolder
from faults.full_disk import CannotMount, fill, small_disk


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Path]:
    try:
        with small_disk(folder, megabytes) as mounted:
            yield mounted
    except CannotMount as error:
        pytest.skip(f"no small disk here: {error}")


def unusable(folder: StateFolder) -> JobStatus:
    status = ended(folder)
    assert (status.phase, status.exit_code) == ("Failed", 66), told(folder)
    assert condition(status, "Failed")[1] == "StoreUnusable"
    assert status.restarts_total == 0
    assert "Traceback" not in status.message
    return status


def test_a_store_that_is_not_there(jobs: Jobs) -> None:
    uri = f"webdav://127.0.0.1:{closed_port()}/jobs"
    folder = jobs.start({**TALLY, "steps": 400}, checkpoint={"storage": {"uri": uri}}, servers=2)
    message = unusable(folder).message
    assert message.startswith(f"checkpoint.storage: {uri}")
    assert "cannot be reached" in message


def test_a_folder_that_cannot_be_made(jobs: Jobs) -> None:
    """/sys refuses root too."""
    folder = jobs.start({**TALLY, "steps": 400}, checkpoint={"storage": {"uri": "/sys/dsj/checkpoints"}})
    message = unusable(folder).message
    assert message.startswith("checkpoint.storage: /sys/dsj/checkpoints")
    assert "choose a folder that this user may write" in message


def test_a_disk_too_small_for_what_is_not_trained(jobs: Jobs, tmp_path: Path) -> None:
    code = (
        LINE + "    def model(self):\n        table = nn.Embedding(1024, 1024)\n        table.requires_grad_(False)\n"
    )
    code += "        return nn.Sequential(nn.Linear(4, 1), table)\n"
    with disk(tmp_path / "disk", 1) as mounted:
        storage = {"storage": {"uri": str(mounted / "checkpoints")}}
        folder = jobs.start({"task": "mine:Line", "steps": 50}, code=code, checkpoint=storage)
        status = ended(folder)
        assert (status.phase, status.exit_code) == ("Failed", 66), told(folder)
        assert "checkpoint.storage: what is not trained cannot be stored: no space is left" in status.message
        assert status.restarts_total == 0


def test_a_disk_too_small_for_the_first_checkpoint(jobs: Jobs, tmp_path: Path) -> None:
    with disk(tmp_path / "disk", 1) as mounted:
        storage = {"storage": {"uri": str(mounted / "checkpoints")}}
        folder = jobs.start({**TALLY, "args": {"rows": 200}, "steps": 50}, checkpoint=storage)
        assert "no space is left" in unusable(folder).message


def test_restore_from_a_folder_without_checkpoints(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder = jobs.start({**TALLY, "steps": 400}, checkpoint={"restoreFrom": str(tmp_path / "empty")})
    assert unusable(folder).message == f"checkpoint.restoreFrom: {tmp_path / 'empty'} holds no checkpoint of a job"


def test_a_full_disk_costs_checkpoints_and_nothing_else(jobs: Jobs, tmp_path: Path) -> None:
    with disk(tmp_path / "disk", 8) as mounted:
        folder = jobs.start(
            {**TALLY, "task": "mine:Tally", "args": {"samples": 1024}, "steps": 2400},
            code=SLOW_TALLY,
            workers=2,
            checkpoint={"everySteps": 200, "keep": 2, "storage": {"uri": str(mounted / "checkpoints")}},
        )
        status = until(folder, lambda s: events(s, "CheckpointSaved"))
        filler = fill(mounted)
        failing = until(folder, lambda s: events(s, "CheckpointFailed"))
        assert "no space is left" in events(failing, "CheckpointFailed")[0]
        saved = status.progress.checkpoint if status.progress else None
        assert failing.progress is not None
        assert failing.progress.checkpoint is not None
        assert saved is not None
        degraded = until(folder, lambda s: condition(s, "Degraded")[0])
        assert condition(degraded, "Degraded")[1] == "CheckpointFailed"
        assert "no space is left" in degraded.message
        assert degraded.progress is not None
        newest = degraded.progress.checkpoint
        going_on = until(folder, reached(step_of(degraded) + 40))
        assert going_on.progress is not None
        assert going_on.progress.checkpoint == newest
        filler.unlink()
        again = until(folder, lambda s: s.progress is not None and s.progress.checkpoint not in (None, newest, saved))
        assert not condition(again, "Degraded")[0]
        assert pids(again) == pids(status)
        last = ended(folder)
        assert (last.phase, last.restarts_total) == ("Succeeded", 0), told(folder)


def test_a_full_disk_at_the_end_is_waited_for_and_said(jobs: Jobs, tmp_path: Path) -> None:
    with disk(tmp_path / "disk", 8) as mounted:
        folder = jobs.start(
            {**TALLY, "task": "mine:Tally", "args": {"samples": 1024}, "steps": 400},
            code=SLOW_TALLY,
            checkpoint={"everySteps": 1000, "storage": {"uri": str(mounted / "checkpoints")}},
        )
        until(folder, reached(40))
        filler = fill(mounted)
        status = until(folder, lambda s: condition(s, "Blocked")[0])
        assert step_of(status) == 400
        assert condition(status, "Blocked")[1] == "CheckpointFailed"
        assert "no space is left" in status.message
        filler.unlink()
        last = ended(folder)
        assert (last.phase, last.exit_code, last.restarts_total) == ("Succeeded", 0, 0), told(folder)
        assert last.progress is not None
        assert last.progress.checkpoint is not None
        assert last.progress.checkpoint.step == 400


def test_a_full_disk_under_everything(jobs: Jobs) -> None:
    """Logs, status, journals and etcd too: nobody is restarted but etcd, and all goes on when there is space."""
    with disk(jobs.state, 300) as mounted:
        folder = jobs.start(
            {**TALLY, "task": "mine:Tally", "args": {"samples": 1024}, "steps": 3000},
            code=SLOW_TALLY,
            servers=2,
            workers=2,
            checkpoint={"everySteps": 200, "keep": 2},
        )
        before = until(folder, lambda s: events(s, "CheckpointSaved"))
        places = [mounted / f"full-{turn}" for turn in range(6)]
        for place in places:
            place.mkdir()
        for place in places:
            fill(place)  # again: what ends gives space back
            time.sleep(1.0)  # the outage
        assert folder.alive()
        for place in places:
            (place / "filler").unlink()
        status = until(folder, reached(step_of(folder.status()) + 200))
        assert pids(status) == pids(before)
        last = ended(folder)
        assert (last.phase, last.restarts_total) == ("Succeeded", 0), told(folder)
        assert violations(folder, dense=True) == []


def test_a_store_that_goes_away_and_comes_back(jobs: Jobs, tmp_path: Path) -> None:
    """Without it nothing is saved, and nobody can go back: said each time, and made up for."""
    port = closed_port()
    who = f"{USER}:{quote(PASSWORD)}@127.0.0.1:{port}"
    training = {**TALLY, "task": "mine:Tally", "args": {"samples": 1024}, "steps": 2000}
    with webdav_server(tmp_path / "store", port):
        folder = jobs.start(
            training,
            code=SLOW_TALLY,
            servers=2,
            workers=2,
            checkpoint={"everySteps": 200, "keep": 2, "storage": {"uri": f"webdav://{who}/jobs/tally"}},
        )
        saved = until(folder, lambda s: s.progress and s.progress.checkpoint and s.progress.checkpoint.step > 0)
    without = until(folder, lambda s: events(s, "CheckpointFailed"))
    assert "cannot be reached" in events(without, "CheckpointFailed")[0]
    until(folder, reached(step_of(without) + 100))
    signal_to(pid_of(folder, "server", 1), signal.SIGKILL)
    blocked = until(folder, lambda s: condition(s, "Blocked")[0])
    assert condition(blocked, "Blocked")[1] == "StoreUnreachable"
    assert "term 2 cannot open" in blocked.message
    assert "cannot be reached" in blocked.message
    assert PASSWORD not in folder.status_file.read_text()
    with webdav_server(tmp_path / "store", port):
        status = until(folder, lambda s: s.opened == 2)
        last = ended(folder)
        assert (last.phase, last.exit_code) == ("Succeeded", 0), told(folder)
        assert saved.progress is not None
        assert saved.progress.checkpoint is not None
        restored = [r.restored_step for r in last.recoveries if r.role == "server"]
        assert restored == [int(events(last, "TermOpened")[-1].rpartition(" ")[2])]
        assert saved.progress.checkpoint.step <= (restored[0] or 0) <= step_of(without)
        assert status.opened == 2
    (own,) = {path.parents[2] for path in tmp_path.joinpath("store").rglob("index.json")}
    assert violations(folder, dense=True, uri=str(own)) == []


def damage(folder: StateFolder, how: str) -> int:
    """The newest checkpoint: a flipped byte in a part, or half of its index. Its step."""
    index = newest_index(folder)
    step = folder.checkpoints / f"t{index.term}" / f"step-{index.step}"
    file = folder.checkpoints / index.parts[0].path if how == "a flipped byte" else step / "index.json"
    content = bytearray(file.read_bytes())
    if how == "a flipped byte":
        content[-9] ^= 1
    else:
        del content[len(content) // 2 :]
    file.write_bytes(content)
    return index.step


@pytest.mark.parametrize("how", ["a flipped byte", "half an index"])
def test_a_damaged_checkpoint_is_passed_over(jobs: Jobs, how: str) -> None:
    training = {**TALLY, "task": "mine:Tally", "args": {"samples": 1024}, "steps": 1200}
    more: dict[str, Any] = {"workers": 2, "servers": 2, "checkpoint": {"everySteps": 100, "keep": 3}}
    folder = jobs.start(training, code=SLOW_TALLY, **more)
    until(
        folder,
        lambda s: s.progress is not None and s.progress.checkpoint is not None and s.progress.checkpoint.step >= 200,
    )
    folder.request_stop()
    assert ended(folder).phase == "Suspended"
    damaged = damage(folder, how)
    before = newest_index(folder).step if how == "half an index" else None
    jobs.start(training, code=SLOW_TALLY, resume=True, **more)
    status = until(folder, lambda s: s.opened > 1)
    last = ended(folder)
    assert (last.phase, last.restarts_total) == ("Succeeded", 0), told(folder)
    (text,) = events(last, "CheckpointDamaged")
    assert f"step {damaged}" in text
    opened = events(last, "TermOpened")[-1]
    restored = int(opened.rpartition(" ")[2])
    assert restored < damaged
    assert restored == (before if before is not None else restored)
    assert status.opened == 2
    assert violations(folder, dense=True) == []


def test_nothing_but_damaged_checkpoints(jobs: Jobs) -> None:
    """Beginning anew in silence would lose what was trained."""
    folder = jobs.start({"task": "mine:Line", "steps": 2000}, code=LINE, checkpoint={"everySteps": 100})
    until(folder, lambda s: events(s, "CheckpointSaved"))
    folder.request_stop()
    assert ended(folder).phase == "Suspended"
    for index in folder.checkpoints.glob("t*/step-*/index.json"):
        index.write_text(json.dumps({"version": 1}))
    jobs.start({"task": "mine:Line", "steps": 2000}, code=LINE, checkpoint={"everySteps": 100}, resume=True)
    assert "no checkpoint that can be read" in unusable(folder).message
