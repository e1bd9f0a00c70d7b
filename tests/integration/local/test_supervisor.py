"""A supervisor with a real etcd and members that train nothing: starts, losses, ends, and nothing left behind."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from builders import fake_member, letting_go
from builders.real_jobs import kill_supervisor
from deepseek_operator.api.status import JobStatus
from deepseek_operator.executors.etcd_keeper import read_etcd_file
from deepseek_operator.executors.processes import start_ticks
from deepseek_operator.launch import StartRefused, resume, start
from deepseek_operator.state_folder import StateFolder
from deepseek_runtime.contract.config import Timing
from deepseek_runtime.contract.names import Role
from faults.full_disk import CannotMount, fill, small_disk

FAKE = (sys.executable, "-P", str(Path(fake_member.__file__).absolute()))
COMMANDS: dict[Role, tuple[str, ...]] = {"server": FAKE, "worker": FAKE}
JOB = """\
apiVersion: deepseek.dev/v1alpha1
kind: DeepseekJob
metadata: {{name: fake}}
spec:
  servers: {{replicas: 2}}
  workers: {{replicas: {workers}, max: 3}}
  training:
    task: deepseek_runtime.tasks.digits:Digits
    steps: {steps}
    args: {args}
"""


class Place:
    """A folder for jobs; `hold` keeps the job from finishing until `release`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = StateFolder(root / "state" / "fake")

    def manifest(self, steps: int = 3, workers: int = 2, args: str = "{}") -> Path:
        path = self.root / "job.yaml"
        path.write_text(JOB.format(steps=steps, workers=workers, args=args))
        return path

    def start(
        self, hold: bool = False, replace: bool = False, worker: ModuleType = fake_member, **job: object
    ) -> StateFolder:
        if hold:
            job["args"] = "{hold: true}"
        file = self.manifest(**job)  # type: ignore[arg-type]
        timing = Timing(registration_ttl=2.0, progress=0.1)
        commands: dict[Role, tuple[str, ...]] = {**COMMANDS, "worker": (*FAKE[:-1], str(worker.__file__))}
        return start(file, self.root / "state", replace=replace, timing=timing, commands=commands)

    def release(self) -> None:
        (self.folder.path / "release").touch()

    def until(self, true: Callable[[JobStatus], bool]) -> JobStatus:
        end = time.monotonic() + 60
        while not true(status := self.folder.status()):
            assert time.monotonic() < end, (status, self.log())
            time.sleep(0.05)
        return status

    def training(self) -> JobStatus:
        return self.until(
            lambda s: (
                s.phase == "Running" and len(s.members) == 4 and all(m.trained or m.role == "server" for m in s.members)
            )
        )

    def kill(self, role: Role, index: int) -> None:
        member = next(m for m in self.folder.status().members if (m.role, m.index) == (role, index))
        assert member.pid is not None
        os.kill(member.pid, signal.SIGKILL)

    def ended(self) -> JobStatus:
        assert self.folder.wait(60), self.log()
        assert self.folder.left_behind() == []
        assert not self.folder.alive()
        return self.folder.status()

    def log(self) -> str:
        return (self.folder.logs / "supervisor.log").read_text()[-4000:]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    one = Place(tmp_path)
    yield one
    supervisor = one.folder.supervisor()
    if supervisor is not None:
        supervisor.kill()
        supervisor.wait(10)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(supervisor.pid, 0)
        supervisor.close()
    one.folder.end_left_behind()


def test_a_job_runs_to_its_end_and_leaves_nothing_behind(place: Place) -> None:
    folder = place.start()
    with pytest.raises(StartRefused, match="is running"):
        start(place.manifest(), place.root / "state")
    status = place.ended()
    assert (status.phase, status.exit_code, status.restarts_total) == ("Succeeded", 0, 0)
    assert status.progress is not None
    assert status.progress.step == 3
    assert {m.phase for m in status.members} == set()
    assert sorted(p.name for p in folder.logs.iterdir()) == [
        "etcd.log", "server-0-0.log", "server-1-0.log", "supervisor.log", "worker-0-0.log", "worker-1-0.log",
    ]  # fmt: skip
    told = [folder.path.parent, folder.path, *folder.path.iterdir()]
    assert [path.name for path in told if path.stat().st_mode & 0o077] == []
    assert list(folder.etcd.iterdir()) == [], "128 MB that nobody reads again"
    assert (folder.secrets.stat().st_mode & 0o777, len(list(folder.secrets.iterdir()))) == (0o700, 9)
    with pytest.raises(StartRefused, match="was started here before"):
        start(place.manifest(), place.root / "state")
    with pytest.raises(StartRefused, match="has finished"):
        resume("fake", place.root / "state")


def test_killed_worker_server_and_etcd_are_replaced(place: Place) -> None:
    place.start(hold=True)
    place.training()
    place.kill("worker", 1)
    place.until(lambda s: len(s.recoveries) == 1 and s.recoveries[0].seconds is not None)
    place.kill("server", 0)
    status = place.until(lambda s: len(s.recoveries) == 2 and s.recoveries[1].seconds is not None)
    assert (status.term.number, status.opened) == (2, 2)
    etcd = read_etcd_file(place.folder.etcd_file)
    assert etcd is not None
    os.kill(etcd.pid, signal.SIGKILL)
    status = place.until(lambda s: len(s.recoveries) == 3 and s.recoveries[2].seconds is not None)
    assert [(r.role, r.index) for r in status.recoveries] == [("worker", 1), ("server", 0), ("etcd", 0)]
    assert {r.cause for r in status.recoveries} == {"killed by signal 9"}
    assert status.term.number == 2
    assert status.restarts_total == 2
    place.release()
    status = place.ended()
    assert status.phase == "Succeeded"
    assert sorted(status.incarnations.items()) == [
        ("etcd/0", 1), ("server/0", 1), ("server/1", 0), ("worker/0", 0), ("worker/1", 1),
    ]  # fmt: skip


def test_users_mistake_ends_the_job(place: Place) -> None:
    place.start(args='{hold: true, exits: {worker/1: [65, "train.py line 3: no such column"]}}')
    status = place.ended()
    assert (status.phase, status.exit_code) == ("Failed", 65)
    assert status.message == "worker 1: train.py line 3: no such column"
    assert status.restarts_total == 0


def test_crash_loop_uses_up_the_budget(place: Place) -> None:
    file = place.manifest(args='{hold: true, exits: {worker/0: [1, "out of memory"]}}')
    file.write_text(file.read_text() + "  runPolicy: {backoffLimit: 2}\n")
    start(file, place.root / "state", timing=Timing(registration_ttl=2.0), commands=COMMANDS)
    status = place.ended()
    assert (status.phase, status.exit_code, status.restarts_total) == ("Failed", 1, 3)
    assert "out of memory" in status.message
    assert next(c.reason for c in status.conditions if c.type == "Failed") == "BackoffLimitExceeded"


def test_drain_and_resume(place: Place) -> None:
    folder = place.start(hold=True)
    before = place.training()
    folder.request_stop()
    status = place.ended()
    assert status.phase == "Suspended"
    resume("fake", place.root / "state")
    place.release()
    status = place.ended()
    assert status.phase == "Succeeded"
    assert status.uid == before.uid
    assert status.term.number == 2
    assert status.recoveries == ()


def test_sigterm_drains_and_a_second_one_kills(place: Place) -> None:
    folder = place.start(hold=True)
    place.training()
    supervisor = folder.supervisor()
    assert supervisor is not None
    supervisor.ask_to_leave()
    supervisor.ask_to_leave()
    supervisor.close()
    assert place.ended().phase == "Suspended"


def test_killed_supervisor_is_followed_by_one_that_adopts(place: Place) -> None:
    folder = place.start(hold=True)
    before = place.training()
    kill_supervisor(folder)
    assert len(folder.left_behind()) == 5
    assert not folder.alive()
    place.kill("worker", 0)  # while nobody watches
    resume("fake", place.root / "state")
    status = place.until(lambda s: any(r.seconds is not None for r in s.recoveries))
    assert [(r.role, r.index, r.cause) for r in status.recoveries] == [("worker", 0, "killed: it left no exit record")]
    same = {(m.role, m.index): m.pid for m in before.members if (m.role, m.index) != ("worker", 0)}
    assert same.items() <= {(m.role, m.index): m.pid for m in status.members}.items()
    assert status.term.number == 1
    place.release()
    assert place.ended().phase == "Succeeded"


def test_stop_after_a_killed_supervisor_ends_what_it_left(place: Place) -> None:
    folder = place.start(hold=True)
    place.training()
    kill_supervisor(folder)
    folder.request_stop()
    assert folder.left_behind() == []
    assert list(folder.etcd.iterdir()) == []


def test_scale_and_replace(place: Place) -> None:
    folder = place.start(hold=True)
    place.training()
    with pytest.raises(ValueError, match="allows 1 to 3"):
        folder.scale(4)
    folder.scale(3)
    place.until(lambda s: s.workers.ready == 3)
    folder.scale(1)
    status = place.until(lambda s: s.workers.desired == 1 and len(s.members) == 3)
    assert status.restarts_total == 0
    uid = status.uid
    (folder.checkpoints / "old").touch()
    place.start(replace=True, workers=1)
    status = place.ended()
    assert status.phase == "Succeeded"
    assert status.uid != uid
    assert not (folder.checkpoints / "old").exists()


def test_what_left_its_members_session_does_not_outlive_it(place: Place) -> None:
    folder = place.start(hold=True, worker=letting_go)
    place.training()
    first, second = (
        [int(pid) for pid in (folder.path / f"worker-{index}-0.let-go").read_text().split()] for index in (0, 1)
    )
    assert all(start_ticks(pid) is not None for pid in first + second)
    place.kill("worker", 0)
    place.until(lambda s: len(s.recoveries) == 1 and s.recoveries[0].seconds is not None)
    # The one with its environment ended with it; of the other nobody can tell whose it is.
    assert [start_ticks(pid) is None for pid in first + second] == [True, False, False, False]
    place.release()
    assert place.ended().phase == "Succeeded"
    assert all(start_ticks(pid) is None for pid in first + second)


def test_what_left_its_members_session_is_ended_when_the_supervisor_was_killed(place: Place) -> None:
    folder = place.start(hold=True, worker=letting_go)
    place.training()
    files = [(folder.path / f"worker-{index}-0.let-go").read_text() for index in (0, 1)]
    heirs, others = zip(*((int(pid) for pid in text.split()) for text in files), strict=True)
    kill_supervisor(folder)
    folder.request_stop()
    assert folder.left_behind() == []
    assert [start_ticks(pid) for pid in heirs] == [None, None]
    for pid in others:
        os.kill(pid, signal.SIGKILL)  # docs/interfaces.md: the one way to outlive a job


def test_what_keeps_it_from_starting_is_said(place: Place) -> None:
    folder = place.start()
    place.ended()
    folder.job_file.write_text("spec: 3\n")
    folder.save_status(folder.status().model_copy(update={"finished": "", "exit_code": None}))
    with pytest.raises(StartRefused) as refused:
        resume("fake", place.root / "state")
    assert refused.value.code == 78
    assert not folder.alive()


def test_members_that_live_on_end_where_they_were_told_to(place: Place) -> None:
    """Made longer while a killed supervisor's members go on: they have read the shorter job, and end with it."""
    folder = place.start(hold=True)
    place.training()
    kill_supervisor(folder)
    start(place.manifest(steps=5, args="{hold: true}"), place.root / "state", resume=True)
    place.release()
    status = place.ended()
    assert (status.phase, status.exit_code) == ("Succeeded", 0)
    assert status.progress is not None
    assert (status.progress.step, status.progress.steps) == (3, 3)
    assert "members go on to 3; 5 counts when they start again" in (folder.logs / "supervisor.log").read_text()


def test_a_disk_without_room_for_etcd(place: Place, tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk", 100) as disk:
            fill(disk, leave=8 << 20)
            with pytest.raises(StartRefused) as refused:
                start(place.manifest(), disk, commands=COMMANDS)
            assert not StateFolder(disk / "fake").alive()
            assert StateFolder(disk / "fake").left_behind() == []
    except CannotMount as error:
        pytest.skip(str(error))
    assert str(refused.value).startswith(f"no space left in {tmp_path}/disk/fake/etcd: etcd needs 64 MB there")
    assert "goroutine" not in str(refused.value)
