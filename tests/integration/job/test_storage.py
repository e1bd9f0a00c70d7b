"""Trouble with the checkpoint storage, on real members: said at once where nothing can begin, survived where it can."""

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


FROZEN = LINE + (
    "    def model(self):\n"
    "        table = nn.Embedding(1024, 1024)\n"
    "        table.requires_grad_(False)\n"
    "        return nn.Sequential(nn.Linear(4, 1), table)\n"
)
"""4 MB that are not trained."""


def test_storage_with_which_nothing_can_begin(jobs: Jobs, subtests: pytest.Subtests, tmp_path: Path) -> None:
    """Side by side: each is tried for a while."""
    (tmp_path / "empty").mkdir()
    away = f"webdav://127.0.0.1:{closed_port()}/jobs"
    line, tally = {"task": "mine:Line", "steps": 50}, {**TALLY, "steps": 50}
    with disk(tmp_path / "small", 1) as small, disk(tmp_path / "smaller", 1) as smaller:

        def start(name: str, training: dict[str, Any], storage: str, **more: Any) -> StateFolder:
            return jobs.start(training, name=name, checkpoint={"storage": {"uri": storage}}, **more)

        is_away = start("away", tally, away, servers=2)
        refused = start("refused", tally, "/sys/dsj/checkpoints")  # root too
        small_for_parts = start("small", {**tally, "args": {"rows": 200}}, str(small / "checkpoints"))
        small_for_fixed = start("smaller", line, str(smaller / "checkpoints"), code=FROZEN)
        nothing_there = jobs.start(tally, name="empty", checkpoint={"restoreFrom": str(tmp_path / "empty")})

        with subtests.test("a server that is not there"):
            message = unusable(is_away).message
            assert message.startswith(f"checkpoint.storage: {away}")
            assert "cannot be reached" in message
        with subtests.test("a folder that cannot be made"):
            message = unusable(refused).message
            assert message.startswith("checkpoint.storage: /sys/dsj/checkpoints")
            assert "choose a folder that this user may write" in message
        with subtests.test("a disk too small for the first checkpoint"):
            assert "no space is left" in unusable(small_for_parts).message
        with subtests.test("a disk too small for what is not trained"):
            status = ended(small_for_fixed)
            assert (status.phase, status.exit_code, status.restarts_total) == ("Failed", 66, 0), told(small_for_fixed)
            assert "checkpoint.storage: what is not trained cannot be stored: no space is left" in status.message
        with subtests.test("restoreFrom a folder without checkpoints"):
            message = f"checkpoint.restoreFrom: {tmp_path / 'empty'} holds no checkpoint of a job"
            assert unusable(nothing_there).message == message


def test_a_full_disk_costs_checkpoints_and_nothing_else(jobs: Jobs, tmp_path: Path) -> None:
    with disk(tmp_path / "disk", 8) as mounted:
        folder = jobs.start_slowly(
            2400,
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
        jobs.hurry()
        last = ended(folder)
        assert (last.phase, last.restarts_total) == ("Succeeded", 0), told(folder)


def test_a_full_disk_at_the_end_is_waited_for_and_said(jobs: Jobs, tmp_path: Path) -> None:
    with disk(tmp_path / "disk", 8) as mounted:
        folder = jobs.start_slowly(
            400,
            checkpoint={"everySteps": 1000, "storage": {"uri": str(mounted / "checkpoints")}},
        )
        until(folder, reached(40))
        filler = fill(mounted)
        jobs.hurry()
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
        folder = jobs.start_slowly(
            3000,
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
        jobs.hurry()
        last = ended(folder)
        assert (last.phase, last.restarts_total) == ("Succeeded", 0), told(folder)
        assert violations(folder, dense=True) == []


def test_a_store_that_goes_away_and_comes_back(jobs: Jobs, tmp_path: Path) -> None:
    """Without it nothing is saved, and nobody can go back: said each time, and made up for."""
    port = closed_port()
    who = f"{USER}:{quote(PASSWORD)}@127.0.0.1:{port}"
    with webdav_server(tmp_path / "store", port):
        folder = jobs.start_slowly(
            2000,
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
        jobs.hurry()
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
    """The newest checkpoint: a flipped byte in a part, or half of its index; or all of them. The newest's step."""
    index = newest_index(folder)
    newest = folder.checkpoints / f"t{index.term}" / f"step-{index.step}" / "index.json"
    if how == "a flipped byte":
        part = folder.checkpoints / index.parts[0].path
        content = bytearray(part.read_bytes())
        content[-9] ^= 1
        part.write_bytes(content)
        return index.step
    for file in folder.checkpoints.glob("t*/step-*/index.json"):
        if file == newest or how == "nothing but damage":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return index.step


def test_damaged_checkpoints_are_passed_over(jobs: Jobs, subtests: pytest.Subtests) -> None:
    """The one before is taken, and that is said. Without any, beginning anew in silence would lose what was trained."""
    ways = ("a flipped byte", "half an index", "nothing but damage")

    def start(how: str, **more: Any) -> StateFolder:
        every = {"everySteps": 100, "keep": 3}
        return jobs.start_slowly(2000, name=how.replace(" ", "-"), servers=2, checkpoint=every, **more)

    folders = {how: start(how) for how in ways}
    for folder in folders.values():
        until(folder, lambda s: s.progress and s.progress.checkpoint and s.progress.checkpoint.step >= 200)
        folder.request_stop()
    jobs.hurry()
    damaged = {}
    for how, folder in folders.items():
        assert ended(folder).phase == "Suspended", told(folder)
        damaged[how] = damage(folder, how)
        start(how, resume=True)
    for how in ways[:2]:
        with subtests.test(how):
            folder = folders[how]
            last = ended(folder)
            assert (last.phase, last.restarts_total) == ("Succeeded", 0), told(folder)
            (text,) = events(last, "CheckpointDamaged")
            assert f"step {damaged[how]}" in text
            assert last.opened == 2
            assert int(events(last, "TermOpened")[-1].rpartition(" ")[2]) < damaged[how]
            assert violations(folder, dense=True) == []
    with subtests.test(ways[2]):
        assert "no checkpoint that can be read" in unusable(folders[ways[2]]).message
