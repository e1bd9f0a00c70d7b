"""Members as processes of this machine.

A member is a child in a session of its own, so it outlives the supervisor; one that starts again adopts it by
(pid, start time) as status.json has it, and by DSJ_EXIT_FILE in its environment where the supervisor died before it
could write that down. How it ended stands in exits/<member>.json; none and gone means killed.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from deepseek_operator.api.status import MemberStatus
from deepseek_operator.executors.orphans import end_heirs
from deepseek_operator.executors.processes import Ended, Process, Watch, leaders_with
from deepseek_operator.reconcile.observe import MemberSeen, Obstacle
from deepseek_operator.reconcile.plan import Plan
from deepseek_runtime.contract.exit_codes import CRASHED, OK
from deepseek_runtime.contract.names import ENV_EXIT_FILE, ENV_INCARNATION, ENV_INDEX, ENV_ROLE, Member, Role
from deepseek_runtime.contract.records import ExitRecord

logger = logging.getLogger(__name__)

GRACE = 15.0
"""Seconds between the request to leave and the kill."""
KILLED_WITHIN = 10.0
TAIL = 4096
"""Bytes at the end of a log in which a member's last words are looked for, where it left no message."""
WORDS = 600
"""Characters of them that are kept."""
NO_WORD = "it ended without a word, as after os._exit() or a library that ends the process"
_OURS = re.compile(r'\S+Z (DEBUG|INFO|WARNING) member=|\{"time": .*"level": "(DEBUG|INFO|WARNING)", ')


def last_words(text: str, whole: bool = True) -> str:
    """The last three lines of a log that may say why it ends there. What we logged does not, but errors.

    whole: the text begins at the beginning of a line.
    """
    lines = text.splitlines()
    if not whole and len(lines) > 1:
        del lines[0]
    said = [line.strip() for line in lines if line.strip() and not _OURS.match(line)]
    return " / ".join(said[-3:])[-WORDS:]


@dataclass(slots=True)
class _Held:
    seen: MemberSeen
    process: Process | None


class LocalExecutor:
    """logs, exits: folders; commands: what is run for each role; environment: of every member, beside its identity.

    `changed` is called from a thread of ours when a member has ended; it must be cheap.
    """

    def __init__(
        self,
        *,
        logs: Path,
        exits: Path,
        commands: Mapping[Role, Sequence[str]],
        environment: Callable[[Member], Mapping[str, str]],
        changed: Callable[[], None],
        grace: float = GRACE,
    ) -> None:
        self._logs = logs
        self._exits = exits
        self._commands = commands
        self._environment = environment
        self._changed = changed
        self._grace = grace
        self._held: dict[Member, _Held] = {}
        self._lock = threading.RLock()
        logs.mkdir(parents=True, exist_ok=True)
        exits.mkdir(parents=True, exist_ok=True)
        self._watch = Watch(self._ended)

    def adopt(self, known: Iterable[MemberStatus]) -> None:
        """Takes over the members that an earlier supervisor left, as the last status has them, and any it forgot."""
        now = time.time()
        for status in known:
            member = Member(status.role, status.index, status.incarnation)
            seen = MemberSeen(
                status.role, status.index, status.incarnation, "running",
                pid=status.pid, started=status.started, terminating=status.terminating, since=now,
            )  # fmt: skip
            started = int(status.started) if status.started.isdigit() else -1
            process = Process.adopt(status.pid, started) if status.pid is not None else None
            if process is not None:
                self._hold(seen, process)
            elif status.pid is not None and status.phase != "gone":
                self._held[member] = _Held(self._gone(seen, Ended(), now), None)
        # The oldest of each: what a member started in a session of its own has its environment too.
        for pid, begun, file in sorted(leaders_with(ENV_EXIT_FILE, self._exits), key=lambda found: found[1]):
            try:
                member = Member.parse(file.stem)
            except ValueError:
                continue
            process = None if member in self._held else Process.adopt(pid, begun)
            if process is not None:
                logger.info("found %s, pid %d, which no status names", member, pid)
                seen = MemberSeen(
                    member.role, member.index, member.incarnation, "running", pid=pid, started=str(begun), since=now
                )
                self._hold(seen, process)

    def observe(self) -> tuple[MemberSeen, ...]:
        with self._lock:
            return tuple(self._held[member].seen for member in sorted(self._held))

    def obstacle(self) -> Obstacle | None:
        return None

    def apply(self, plan: Plan) -> None:
        self._delete(plan.delete)
        for member in plan.terminate:
            self._terminate(member)
        for member in plan.create:
            self._create(member)

    def close(self) -> None:
        self._watch.close()
        with self._lock:
            for held in self._held.values():
                if held.process is not None:
                    held.process.close()
                    held.process = None

    def _create(self, member: Member) -> None:
        with self._lock:
            if member in self._held:
                return
        exit_file = self._exit_file(member)
        exit_file.unlink(missing_ok=True)
        environment = {
            **self._environment(member),
            ENV_ROLE: member.role,
            ENV_INDEX: str(member.index),
            ENV_INCARNATION: str(member.incarnation),
            ENV_EXIT_FILE: str(exit_file),
        }
        now = time.time()
        seen = MemberSeen(member.role, member.index, member.incarnation, "running", since=now)
        try:
            process = Process.spawn(self._commands[member.role], environment, self._log(member))
        except OSError as error:
            record = ExitRecord(code=CRASHED, reason="CannotStart", message=f"cannot start it: {error.strerror}")
            with self._lock:
                self._held[member] = _Held(replace(seen, phase="gone", exit=record, ended=now), None)
            self._changed()
            return
        logger.info("started %s, pid %d", member, process.pid)
        self._hold(replace(seen, pid=process.pid, started=str(process.started)), process)

    def _hold(self, seen: MemberSeen, process: Process) -> None:
        with self._lock:
            self._held[seen.member] = _Held(seen, process)
        self._watch.add(process.handle)

    def _terminate(self, member: Member) -> None:
        with self._lock:
            held = self._held.get(member)
            if held is None or held.process is None or held.seen.terminating:
                return
            held.seen = replace(held.seen, terminating=True)
            held.process.ask_to_leave()
        self._watch.after(self._grace, lambda: self._lost_patience(member))

    def _lost_patience(self, member: Member) -> None:
        with self._lock:
            held = self._held.get(member)
            if held is not None and held.process is not None and held.process.alive():
                logger.warning("%s did not leave within %g s: killed", member, self._grace)
                held.process.kill()

    def _delete(self, members: Sequence[Member]) -> None:
        with self._lock:
            # Not listed from here on, so the watch's thread leaves them alone.
            going = [self._held.pop(member) for member in members if member in self._held]
            processes = [(held, held.process) for held in going if held.process is not None]
            for _, process in processes:
                self._watch.forget(process.handle)
                process.kill()
        for held, process in processes:
            if process.wait(KILLED_WITHIN):
                process.reap()
                process.close()
                self._end_heirs(held.seen.member)
            else:
                logger.error("%s, pid %d, cannot be killed; it stays listed", held.seen.member, process.pid)
                self._hold(held.seen, process)

    def _ended(self, handle: int) -> None:
        with self._lock:
            for held in self._held.values():
                process = held.process
                # Alive: the news was of an older process, whose handle had the same number.
                if process is not None and process.handle == handle and not process.alive():
                    how = process.reap()
                    self._watch.forget(handle)
                    process.close()
                    held.process = None
                    self._end_heirs(held.seen.member)
                    held.seen = self._gone(held.seen, how, time.time())
                    logger.info("%s has ended: %s", held.seen.member, held.seen.exit or how)
                    break
            else:
                return
        self._changed()

    def _end_heirs(self, member: Member) -> None:
        """Whoever it started and let go. The next incarnation starts its own, and would find their ports taken."""
        killed = end_heirs(ENV_EXIT_FILE, self._exit_file(member).__eq__)
        if killed:
            logger.info("ended with %s, which had started them: %s", member, ", ".join(map(str, killed)))

    def _gone(self, seen: MemberSeen, how: Ended, now: float) -> MemberSeen:
        record = self._read_exit(seen.member)
        if record is None and how.code is not None:
            reason = "Finished" if how.code == OK else "Exited"
            record = ExitRecord(code=how.code, reason=reason, message=self._last_words(seen.member) if how.code else "")
        return replace(seen, phase="gone", exit=record, signal=how.signal, ended=now)

    def _read_exit(self, member: Member) -> ExitRecord | None:
        try:
            return ExitRecord.model_validate_json(self._exit_file(member).read_bytes())
        except (OSError, ValidationError):
            return None

    def _last_words(self, member: Member) -> str:
        try:
            with self._log(member).open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - TAIL))
                whole = file.tell() == 0
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return last_words(text, whole) or NO_WORD

    def _log(self, member: Member) -> Path:
        return self._logs / f"{member}.log"

    def _exit_file(self, member: Member) -> Path:
        return self._exits / f"{member}.json"
