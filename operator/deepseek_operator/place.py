"""Where jobs are: on this machine (jobs_here: state folders) or in a cluster (jobs_in_cluster: DeepseekJob objects).

Commands and the Python client ask for nothing but what stands here, so each works in both places. What cannot be had
raises kept.NotThere; what cannot be read just now Unreadable; all else that an API server refuses kube.ApiError.
"""

import difflib
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from deepseek_operator.curves import Curves
from deepseek_operator.executors.processes import Process
from deepseek_operator.view.snapshot import Snapshot
from deepseek_runtime.contract.names import COMMAND, Member


class Unreadable(Exception):
    """A job's state cannot be read: its folder is broken, or the API server does not answer. For people."""


class Patience:
    """Of those who follow a job that is Unreadable for a while: seconds of it in a row, from its first time on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def renew(self) -> None:
        """It could be read."""
        self._since = None

    def lasts(self) -> bool:
        """It could not be read again: whether it is still waited for."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since <= self._seconds


class Busy(Exception):
    """The job runs, so that cannot be done. The message is for people."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which logs are asked for. previous: those of incarnations that were replaced."""

    role: str | None
    index: int | None
    previous: bool = False


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint in a list."""

    step: int
    term: int
    created: str | None
    """RFC 3339; None: it cannot be read, and `problem` says why."""
    size: int
    """Bytes."""
    current: bool
    """Whether it belongs to the job's present history; others are left from before a roll-back."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Exported:
    """A model that was written as one plain safetensors file."""

    path: Path
    step: int
    term: int
    tensors: int
    size: int
    """Bytes."""
    passed_over: tuple[tuple[int, int, str], ...] = ()
    """Newer checkpoints that cannot be read: step, term, why."""


class Log(Protocol):
    """A log that may still grow."""

    time: str
    """Of the last line that was shown: for those who merge several."""

    def more(self, *, end: bool = False) -> list[str]:
        """Whole lines that were written since; `end`: also a last one without its end."""


class Measured(Protocol):
    """What a view draws: a curve of the loss, and each worker's rate. Nothing, where nobody measures it."""

    @property
    def losses(self) -> Sequence[float]: ...
    def read(self) -> None: ...
    def saw(self, shot: Snapshot) -> None: ...
    def rates(self, now: float) -> Mapping[str, float]: ...


class Job(Protocol):
    """One job, by its name: any number of processes may hold one."""

    @property
    def name(self) -> str: ...
    @property
    def tick(self) -> float:
        """Seconds between two looks of those who follow it."""

    @property
    def patience(self) -> float:
        """Seconds for which it may be unreadable before those who follow it give up."""

    @property
    def log_sources(self) -> tuple[str, ...]:
        """Whose logs there are beside those of members."""

    def look(self) -> Snapshot:
        """As it is now."""

    def alive(self) -> bool:
        """Whether somebody runs it, so that more is to come."""

    def runner(self) -> Process | None:
        """A process whose end is the job's, to be closed by the caller; None: there is none to be waited for."""

    def wait(self, seconds: float) -> bool:
        """Whether within `seconds` it has come to its end, or to rest, and nobody of it is left."""

    def stop(self, *, kill: bool = False) -> None:
        """Drains it and leaves it suspended, or kills it. Returns at once."""

    def clear_up(self) -> str:
        """After a stop: ends what was left behind; what could not be ended, for people."""

    def scale(self, workers: int | None = None, servers: int | None = None) -> None:
        """None: as they are. Raises ValueError outside the manifest's bounds."""

    def delete(self) -> str:
        """Deletes it; what went, for people. Raises Busy while it runs."""

    def what_goes(self) -> str:
        """What `delete` would delete, for a question."""

    def logs(self, choice: Choice, most: int | None = None) -> Mapping[str, Log]:
        """By source (worker-0-1). most: no more than these last lines of each are wanted."""

    def measured(self) -> Measured: ...
    def curves(self) -> Curves: ...
    def checkpoints(self) -> tuple[str, list[Saved]]:
        """Where they are, and which there are: newest first, those from before a roll-back last."""

    def export(self, file: Path, step: int | None = None) -> Exported:
        """The newest checkpoint, or that of `step`."""

    def audit(self) -> Any:
        """How often each sample counted (deepseek_runtime.audit.Audit)."""


class Place(Protocol):
    @property
    def cluster(self) -> bool: ...
    @property
    def described(self) -> str:
        """For people, after `no jobs`: `in ~/.local/state/dsj`."""

    def names(self) -> list[str]: ...
    def find(self, name: str) -> Job:
        """Raises NotThere, with the name that is nearest to this one."""

    def looks(self) -> list[Snapshot]:
        """All jobs, for a table: one that cannot be read is a line of its own."""

    def spelled(self, text: str) -> str:
        """A text with our commands in it, as they are to be typed for this place."""


@runtime_checkable
class Namespaces(Protocol):
    """A place with more than one namespace."""

    all_namespaces: bool
    """Whether names and looks go beyond the one that is meant."""


def nearest(name: str, known: Sequence[str], none: str) -> str:
    """What to say to a name that is not there."""
    near = difflib.get_close_matches(name, known, 1, 0.5)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are: {', '.join(known[:10])}{' ...' if len(known) > 10 else ''}" if known else none


def with_options(text: str, command: str, options: Sequence[str]) -> str:
    """A text with `dsj COMMAND ...` in it, typed as `command` with these options. (kubectl's `dsj` is a kind.)"""
    return re.sub(rf"(?<!delete )\b{COMMAND} (?=[a-z])", " ".join([command, *options, ""]), text)


def chosen(choice: Choice, members: Iterable[Member]) -> list[Member]:
    """Of each seat that was asked for the newest incarnation, or all those before it; sorted."""
    seats: dict[tuple[str, int], list[Member]] = {}
    for member in sorted(set(members)):
        if choice.role in (None, member.role) and choice.index in (None, member.index):
            seats.setdefault((member.role, member.index), []).append(member)
    return sorted(m for seat in seats.values() for m in (seat[:-1] if choice.previous else seat[-1:]))
