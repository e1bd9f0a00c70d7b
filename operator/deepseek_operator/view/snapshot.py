"""What a view shows: the status as it was read, when that was, and what follows from the two."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.status import JobStatus
from deepseek_operator.view.amounts import seconds_of
from deepseek_runtime.contract.records import Progress

SIGNS = {
    "Pending": "○", "Starting": "◌", "Running": "●", "Degraded": "◐", "Restarting": "↻", "Blocked": "■",
    "Draining": "▽", "Suspended": "‖", "Succeeded": "✔", "Failed": "✘",
    "Orphaned": "?", "Interrupted": "!", "Unreadable": "?",
}  # fmt: skip
ASCII_SIGNS = {
    "Pending": ".", "Starting": ":", "Running": "*", "Degraded": "~", "Restarting": "@", "Blocked": "#",
    "Draining": "v", "Suspended": "=", "Succeeded": "+", "Failed": "x",
    "Orphaned": "?", "Interrupted": "!", "Unreadable": "?",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times fewer bytes than dense pushes and pulls of each step: the whole, and its two factors."""

    whole: float
    local_steps: float
    compression: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    name: str
    status: JobStatus
    now: float
    """Seconds since the Unix epoch."""
    attended: bool = True
    """Whether a supervisor runs."""
    members_live: bool = False
    """Asked only when no supervisor runs: whether members of the job live all the same."""
    job: DeepseekJob | None = None
    """None: job.yaml cannot be read."""
    losses: tuple[float, ...] = ()
    """Of the pushes so far, in their order."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Samples a second of each worker (role-index-incarnation) that pushed lately."""
    folder: str = ""
    """On this machine."""
    namespace: str = ""
    """In a cluster."""
    notice: str = ""
    """What the view itself has to say."""

    @property
    def progress(self) -> Progress | None:
        return self.status.progress

    @property
    def over(self) -> bool:
        """Succeeded or failed."""
        return bool(self.status.finished)

    @property
    def suspended(self) -> bool:
        """Drained, and nothing runs."""
        return not self.attended and any(c.type == "Suspended" and c.status == "True" for c in self.status.conditions)

    @property
    def abandoned(self) -> bool:
        """Not at its end, and no supervisor runs it."""
        return not (self.attended or self.over or self.suspended)

    @property
    def draining(self) -> bool:
        """On its way to being suspended."""
        return any(c.type == "Suspended" and c.reason == "Draining" for c in self.status.conditions)

    @property
    def phase(self) -> str:
        """The status's, unless nobody is there to keep it true, or it says less than is known."""
        if self.abandoned:
            return "Orphaned" if self.members_live else "Interrupted"
        if self.suspended:
            return "Suspended"
        if self.draining and not self.over:
            return "Draining"
        return self.status.phase

    @property
    def step(self) -> int:
        return self.progress.step if self.progress is not None else 0

    @property
    def goal(self) -> int | None:
        """Steps in all; None: not known before the first progress, of a job that counts epochs."""
        if self.progress is not None:
            return self.progress.steps
        return self.job.spec.training.steps if self.job is not None else None

    @property
    def fraction(self) -> float | None:
        return min(1.0, self.step / self.goal) if self.goal else None

    @property
    def eta(self) -> float | None:
        """Seconds left at the present rate; None when nobody can tell."""
        progress = self.progress
        if progress is None or self.job is None or self.phase not in ("Running", "Degraded", "Restarting"):
            return None
        rate = progress.samples_per_second / self.job.spec.training.batch_size
        return (progress.steps - progress.step) / rate if rate > 0 else None

    @property
    def took(self) -> float | None:
        """Seconds from the start until now, or until the end."""
        begin = seconds_of(self.status.started)
        end = seconds_of(self.status.finished)
        return None if begin is None else max(0.0, (end if end is not None else self.now) - begin)

    @property
    def ratio(self) -> Ratio | None:
        progress = self.progress
        if progress is None or not progress.wire_bytes or not progress.dense_bytes:
            return None
        whole = progress.dense_bytes / progress.wire_bytes
        return Ratio(whole, float(progress.local_steps), whole / progress.local_steps)
