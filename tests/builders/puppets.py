"""Members of a job that are pods in name only: what they would say in etcd is said here, at once.

For tests of the operator alone against a real Kubernetes: the pods only wait for their end, and the operator sees
members that register, a chief that opens terms, tells progress and drains.
"""

import threading
from collections.abc import Callable

from deepseek_operator.executors.sight import member_of
from deepseek_operator.kube import PODS, Api, Unreachable
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.names import LABEL_JOB, Member
from deepseek_runtime.contract.records import CheckpointRef, Finished, Progress, Registration, State
from deepseek_runtime.membership import Membership, TlsFiles, Unavailable

TURN = 0.2


class Puppets:
    """All members of one job; `with` it they live. step: what the chief tells; it stays where it is put."""

    def __init__(
        self, api: Api, namespace: str, job: str, uid: str, *, install: str, etcd: str, tls: TlsFiles | None
    ) -> None:
        self._api, self._namespace, self._job = api, namespace, job
        keys = JobKeys.of(install, namespace, job, uid)
        self._join: Callable[[], Membership] = lambda: Membership((etcd,), keys, tls=tls, ttl=3.0)
        self._chief = self._join()
        self._members: dict[Member, Membership] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="puppets", daemon=True)
        self.step = 0
        self.steps = 1000
        self.drains = True
        """Whether the chief obeys when it is asked to drain."""
        self.finished = False
        self._drained = 0

    def __enter__(self) -> "Puppets":
        self._chief.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20.0)
        for membership in [*self._members.values(), self._chief]:
            membership.close()

    def _run(self) -> None:
        while not self._stop.wait(TURN):
            try:
                self._turn()
            except (Unavailable, Unreachable):
                continue

    def _turn(self) -> None:
        pods = self._api.list(PODS, self._namespace, labels=f"{LABEL_JOB}={self._job}")
        there = {
            m for pod in pods if not pod["metadata"].get("deletionTimestamp") and (m := member_of(pod)) is not None
        }
        for member in [m for m in self._members if m not in there]:
            self._members.pop(member).close()
        for member in there - self._members.keys():
            self._members[member] = self._join()
            self._members[member].start()
            address = f"tcp://10.0.0.{member.index + 1}:7077" if member.role == "server" else ""
            registration = Registration(address=address, incarnation=member.incarnation, trained=1)
            self._members[member].register(member.role, member.index, registration)
        self._lead()

    def _lead(self) -> None:
        view = self._chief.view()
        term = view.term
        if term is None or any(Member("server", s.index, s.incarnation) not in self._members for s in term.servers):
            return
        progress = Progress(
            term=term.number,
            step=self.step,
            steps=self.steps,
            checkpoint=CheckpointRef(term=term.number, step=self.step),
            samples_counted=self.finished,
        )
        for id, command in view.commands.items():
            if command.kind == "drain" and self.drains:
                self._drained = term.number
                self._chief.acknowledge(id, command.model_copy(update={"acknowledged": True}))
        end = Finished(term=term.number, step=self.steps) if self.finished else None
        state = State(opened=term.number, drained=self._drained, finished=end)
        if view.state != state:
            self._chief.put_state(state, term.number)
        if view.progress != progress:
            self._chief.put_progress(progress, term.number)
