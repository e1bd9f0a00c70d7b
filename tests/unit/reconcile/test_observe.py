"""What is seen of a job, joined from its members, etcd and the last status."""

from dataclasses import dataclass, field

from builders.world import EPOCH
from deepseek_operator.api.status import JobStatus
from deepseek_operator.reconcile.observe import Now, observe
from deepseek_runtime.contract.names import Role
from deepseek_runtime.contract.records import Command, Progress, Registration, Request, State, TermRecord


@dataclass
class Etcd:
    progress: Progress | None = None
    term: TermRecord | None = None
    registrations: dict[tuple[Role, int], Registration] = field(default_factory=dict)
    state: State | None = None
    requests: dict[str, Request] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)
    unknown_since: float | None = None
    listed_at: float | None = 1.0


NOW = Now(EPOCH, 5.0)
KNOWN = Progress(term=3, step=700, steps=5000, loss=0.5, events=("1 TermOpened x",))
UNOPENED = Progress(term=4, step=0, steps=0, opening_problem="no store", events=("1 StoreUnreachable no store",))


def test_a_chief_that_has_not_opened_its_term_does_not_take_the_steps_back() -> None:
    seen = observe((), Etcd(UNOPENED), JobStatus(progress=KNOWN), NOW).view.progress
    assert seen == KNOWN.model_copy(update={"opening_problem": "no store", "events": UNOPENED.events})
    again = observe((), Etcd(UNOPENED), JobStatus(progress=seen), NOW).view.progress
    assert again == seen, "and the second look changes nothing"


def test_what_a_chief_counts_is_what_is_seen() -> None:
    fewer = KNOWN.model_copy(update={"step": 400})
    assert observe((), Etcd(fewer), JobStatus(progress=KNOWN), NOW).view.progress == fewer
    assert observe((), Etcd(UNOPENED), JobStatus(), NOW).view.progress == UNOPENED
    assert observe((), Etcd(), JobStatus(progress=KNOWN), NOW).view.progress is None


def test_etcd_that_never_answered_is_unknown_since_now() -> None:
    assert observe((), None, JobStatus(), NOW).view.unknown_since == NOW.monotonic
    assert observe((), Etcd(listed_at=None), JobStatus(), NOW).view.unknown_since == NOW.monotonic
    assert observe((), Etcd(), JobStatus(), NOW).view.fresh
