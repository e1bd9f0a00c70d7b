"""What every executor must do, run against each of them (the cluster's joins in issue 2 of 3)."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deepseek_operator.api.status import JobStatus, MemberStatus
from deepseek_operator.executors.local import NO_WORD, LocalExecutor, last_words
from deepseek_operator.executors.orphans import OLD, Reaper
from deepseek_operator.executors.processes import Process
from deepseek_operator.reconcile.observe import MemberSeen
from deepseek_operator.reconcile.plan import Plan
from deepseek_runtime.contract.names import Member

W0 = Member("worker", 0, 0)
W1 = Member("worker", 1, 0)
S0 = Member("server", 0, 0)
SHELL = "/bin/sh"

Until = Callable[[Callable[[tuple[MemberSeen, ...]], bool]], tuple[MemberSeen, ...]]


class Local:
    """A local executor whose members are shell scripts: `servers` and `workers` are their text."""

    def __init__(self, folder: Path, server: str = "exec sleep 60", worker: str = "exec sleep 60") -> None:
        self.folder = folder
        self.changed = threading.Event()
        self.executor = LocalExecutor(
            logs=folder / "logs",
            exits=folder / "exits",
            commands={"server": (SHELL, "-c", server), "worker": (SHELL, "-c", worker)},
            environment=lambda _: {"PATH": "/usr/bin:/bin", "FOLDER": str(folder)},
            changed=self.changed.set,
            grace=0.3,
        )

    def until(self, true: Callable[[tuple[MemberSeen, ...]], bool]) -> tuple[MemberSeen, ...]:
        end = time.monotonic() + 10
        while not true(seen := self.executor.observe()):
            assert time.monotonic() < end, seen
            self.changed.wait(0.2)
            self.changed.clear()
        return seen


def plan(create: tuple[Member, ...] = (), terminate: tuple[Member, ...] = (), delete: tuple[Member, ...] = ()) -> Plan:
    return Plan(JobStatus(), create=create, terminate=terminate, delete=delete)


def gone(seen: tuple[MemberSeen, ...]) -> bool:
    return all(not m.alive for m in seen)


@pytest.fixture(params=[Local])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Local]]:
    made: list[Local] = []

    def make(**scripts: str) -> Local:
        made.append(request.param(tmp_path, **scripts))
        return made[-1]

    yield make
    for one in made:
        one.executor.apply(plan(delete=tuple(m.member for m in one.executor.observe())))
        one.executor.close()


def test_what_was_created_is_listed(place: Callable[..., Local]) -> None:
    here = place()
    here.executor.apply(plan(create=(S0, W0)))
    seen = here.executor.observe()
    assert [(m.member, m.alive) for m in seen] == [(S0, True), (W0, True)]
    assert all(m.pid is not None and m.started for m in seen)


def test_applying_again_changes_nothing(place: Callable[..., Local]) -> None:
    here = place()
    here.executor.apply(plan(create=(W0,)))
    before = here.executor.observe()
    here.executor.apply(plan(create=(W0,), delete=(W1,), terminate=(W1,)))
    assert here.executor.observe() == before


def test_exit_record_is_read_and_the_gone_stay_until_deleted(place: Callable[..., Local]) -> None:
    record = '{"code": 65, "reason": "UserCodeRaised", "message": "no such column", "range": 3}'
    here = place(worker=f"echo '{record}' > $DSJ_EXIT_FILE; exit 65")
    here.executor.apply(plan(create=(W0,)))
    (seen,) = here.until(gone)
    assert seen.exit is not None
    assert (seen.exit.code, seen.exit.message, seen.exit.range) == (65, "no such column", 3)
    assert seen.ended is not None
    here.executor.apply(plan(delete=(W0,)))
    assert here.executor.observe() == ()


def test_exit_without_a_record_has_the_logs_last_lines(place: Callable[..., Local]) -> None:
    here = place(worker="echo cannot import torch >&2; exit 3")
    here.executor.apply(plan(create=(W0,)))
    (seen,) = here.until(gone)
    assert seen.exit is not None
    assert (seen.exit.code, seen.exit.reason, seen.exit.message) == (3, "Exited", "cannot import torch")


def test_what_we_logged_when_all_was_well_is_no_reason(place: Callable[..., Local]) -> None:
    ours = "2026-01-02T03:04:05.678Z INFO member=worker-0-0 range 3 is done"
    here = place(worker=f"echo {ours} >&2; exit 7")
    here.executor.apply(plan(create=(W0,)))
    (seen,) = here.until(gone)
    assert seen.exit is not None
    assert (seen.exit.code, seen.exit.message) == (7, NO_WORD)


@pytest.mark.parametrize(
    "text,whole,expected",
    [
        ("one\ntwo\nthree\nfour\n", True, "two / three / four"),
        ("of a line\ntwo\n", False, "two"),
        ("one\n2026-01-02T03:04:05.678Z WARNING member=worker-0-0 the manifest wins\n", True, "one"),
        ("of a long line", False, "of a long line"),
        ("2026-01-02T03:04:05.678Z ERROR member=worker-0-0 no space\n\n", True,
         "2026-01-02T03:04:05.678Z ERROR member=worker-0-0 no space"),
        ('said\n{"time": "2026", "level": "INFO", "member": "worker-0-0", "message": "x"}', True, "said"),
        ("x" * 5000, True, "x" * 600),
        ("", True, ""),
    ],
)  # fmt: skip
def test_last_words(text: str, whole: bool, expected: str) -> None:
    assert last_words(text, whole) == expected


def test_killed_leaves_no_record(place: Callable[..., Local]) -> None:
    here = place(worker="kill -9 $$")
    here.executor.apply(plan(create=(W0,)))
    (seen,) = here.until(gone)
    assert (seen.exit, seen.signal) == (None, 9)


def test_asked_to_leave(place: Callable[..., Local]) -> None:
    here = place(worker="trap 'exit 0' TERM; while :; do sleep 0.05; done")
    here.executor.apply(plan(create=(W0,)))
    here.executor.apply(plan(terminate=(W0,)))
    assert here.executor.observe()[0].terminating
    (seen,) = here.until(gone)
    assert seen.terminating


def test_who_does_not_leave_is_killed(place: Callable[..., Local]) -> None:
    here = place(worker="trap '' TERM; touch $FOLDER/ready; while :; do sleep 0.05; done")
    here.executor.apply(plan(create=(W0,)))
    here.until(lambda _: (here.folder / "ready").exists())
    here.executor.apply(plan(terminate=(W0,)))
    (seen,) = here.until(gone)
    assert seen.signal == 9


def test_member_that_cannot_be_made_is_gone_with_a_reason(place: Callable[..., Local]) -> None:
    here = place()
    here.executor._commands = {"server": ("/no/such/program",), "worker": ("/no/such/program",)}
    here.executor.apply(plan(create=(W0,)))
    (seen,) = here.executor.observe()
    assert seen.exit is not None
    assert seen.exit.reason == "CannotStart"


# What follows is of processes alone.


def child_of(folder: Path) -> Process:
    pid = int((folder / "child").read_text())
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    process = Process.adopt(pid, int(stat[19]))
    assert process is not None
    return process


def test_what_a_member_started_ends_with_it(tmp_path: Path) -> None:
    here = Local(tmp_path, worker="sleep 60 & echo $! > $FOLDER/child.new; mv $FOLDER/child.new $FOLDER/child; wait")
    here.executor.apply(plan(create=(W0,)))
    here.until(lambda _: (tmp_path / "child").exists())
    child = child_of(tmp_path)
    leader = Process.adopt(here.executor.observe()[0].pid or 0, int(here.executor.observe()[0].started))
    assert leader is not None
    leader._send(9)  # the leader alone, as the kernel's out-of-memory killer does
    here.until(gone)
    assert child.wait(5.0)
    for process in (child, leader):
        process.close()
    here.executor.close()


@pytest.mark.parametrize("how", ["deleted", "killed"])
def test_what_a_member_started_in_a_session_of_its_own_ends_with_it(tmp_path: Path, how: str) -> None:
    start = "setsid sleep 60 & echo $! > $FOLDER/child.new; mv $FOLDER/child.new $FOLDER/child; wait"
    here = Local(tmp_path, worker=start)
    here.executor.apply(plan(create=(W0,)))
    here.until(lambda _: (tmp_path / "child").exists())
    child = child_of(tmp_path)
    if how == "deleted":
        here.executor.apply(plan(delete=(W0,)))
    else:
        leader = Process.adopt(here.executor.observe()[0].pid or 0, int(here.executor.observe()[0].started))
        assert leader is not None
        leader._send(9)
        leader.close()
        here.until(gone)
    assert child.wait(5.0)
    child.close()
    here.executor.close()


def test_orphans_that_ended_are_reaped_when_nobody_else_has() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    reaper = Reaper()
    for now in (100.0, 100.0 + OLD - 1):
        reaper.tend(now)
        assert os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    reaper.tend(100.0 + OLD)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_adoption(tmp_path: Path) -> None:
    record = '{"code": 1, "reason": "Crashed", "message": "while nobody watched"}'
    wait = "while ! [ -e $FOLDER/go ]; do sleep 0.02; done"
    first = Local(tmp_path, worker=f"echo '{record}' > $DSJ_EXIT_FILE; {wait}")
    first.executor.apply(plan(create=(S0, W0, W1)))
    known = [
        MemberStatus(
            role=m.role, index=m.index, incarnation=m.incarnation, phase="running", pid=m.pid, started=m.started
        )
        for m in first.executor.observe()
    ]
    first.executor.close()  # the supervisor is gone; its members are not

    second = Local(tmp_path)
    second.executor.adopt([m for m in known if m.index == 0])  # W1 was started, but not written down
    seen = second.executor.observe()
    assert [(m.member, m.pid, m.alive) for m in seen] == [
        (Member(m.role, m.index, m.incarnation), m.pid, True) for m in known
    ]
    (tmp_path / "go").touch()
    seen = second.until(lambda seen: sum(m.alive for m in seen) == 1)
    assert [m.exit.message for m in seen if m.exit] == ["while nobody watched"] * 2
    second.executor.close()

    third = Local(tmp_path)
    third.executor.adopt(known)
    assert [(str(m.member), m.alive) for m in third.executor.observe()] == [
        ("server-0-0", True), ("worker-0-0", False), ("worker-1-0", False),
    ]  # fmt: skip
    third.executor.apply(plan(delete=(S0, W0, W1)))
    assert third.executor.observe() == ()
    third.executor.close()


def test_a_stranger_with_the_same_number_is_not_adopted(tmp_path: Path) -> None:
    here = Local(tmp_path)
    here.executor.apply(plan(create=(S0,)))
    (seen,) = here.executor.observe()
    other = Local(tmp_path / "other")
    stale = MemberStatus(role="server", index=0, incarnation=0, phase="running", pid=seen.pid, started="12")
    other.executor.adopt([stale])
    assert [m.alive for m in other.executor.observe()] == [False]
    other.executor.apply(plan(delete=(S0,)))
    assert here.executor.observe()[0].alive
    here.executor.apply(plan(delete=(S0,)))
    for one in (here, other):
        one.executor.close()
