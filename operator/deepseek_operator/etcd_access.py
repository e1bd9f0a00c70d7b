"""Each job's part of etcd is its own: a user by its certificate, a role on its prefix, set up again when etcd lost it.

    access = EtcdAccess(endpoints, tls, install)      # tls: an administrator's (CN root)
    access.start()
    membership = GuardedMembership(..., access=access, owner=owner)

An etcd that lost its data asks nobody who they are. So a term is written only behind `admit`, which lets every job in
that this operator tends and then closes the door; members write nothing but their registrations before they see it.
Whoever is not let in yet is refused, and asks again.
What a member had begun to watch while the door was open it goes on seeing until its connection ends: no secrets are
there.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from deepseek_operator.executors.render.parts import Owner
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.records import TermRecord
from deepseek_runtime.membership import Membership, TlsFiles, Unavailable
from deepseek_runtime.membership.access import AccessControl
from deepseek_runtime.membership.connection import Connection

logger = logging.getLogger(__name__)

CALL_SECONDS = 2.0
RETRY = 0.5
"""Seconds until jobs are let in that could not be."""


def owner_of(install: str, key: str) -> Owner | None:
    """Whose job this key of etcd is in; None: in no job's of this installation."""
    root = JobKeys.root(install)
    parts = key.removeprefix(root).split("/")
    return Owner(parts[1], parts[0], parts[2]) if key.startswith(root) and len(parts) > 3 else None


class EtcdAccess:
    """Called from any thread. `expect` and `recover` return at once; the others raise Unavailable, and can be repeated.

    tls: an administrator's, whose CN is root.
    """

    def __init__(self, endpoints: Sequence[str], tls: TlsFiles, install: str) -> None:
        self._connection = Connection(endpoints, CALL_SECONDS, tls)
        self._control = AccessControl(self._connection)
        self._install = install
        self._setting = threading.Lock()
        """Held while something is changed in etcd."""
        self._lock = threading.Lock()
        self._known: set[Owner] = set()
        """Those that are to be let in."""
        self._admitted: set[Owner] = set()
        """Those whose user and role were complete when they were last looked at."""
        self._due = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="etcd-access", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._due.set()
        self._connection.close()
        if self._thread.ident is not None:
            self._thread.join(2 * CALL_SECONDS)

    def expect(self, owner: Owner) -> None:
        """This job is let in soon, by a thread of ours."""
        with self._lock:
            self._known.add(owner)
        self._due.set()

    def recover(self) -> None:
        """etcd lost its data: all jobs are let in again, by a thread of ours."""
        self._due.set()

    def admit(self, owner: Owner) -> None:
        """Afterwards this job's certificate opens its prefix, and none opens any other's."""
        with self._lock:
            self._known.add(owner)
        self._settle()

    def forget(self, owner: Owner) -> None:
        with self._lock:
            self._known.discard(owner)
        with self._setting:
            self._admitted.discard(owner)
            self._control.remove(owner.uid, self._keys(owner).prefix)

    def owners(self) -> set[Owner]:
        """Jobs of this installation, there or gone, that have a role in etcd: its name is their prefix."""
        found = ((role, owner_of(self._install, role)) for role in self._control.roles())
        return {owner for role, owner in found if owner is not None and role == self._keys(owner).prefix}

    def _settle(self) -> None:
        with self._setting:
            with self._lock:
                known = sorted(self._known, key=lambda one: one.uid)
            there = self._control.users()
            for owner in known:
                if owner.uid in there and owner in self._admitted:
                    continue
                self._admitted.discard(owner)
                prefix = self._keys(owner).prefix
                self._control.admit(owner.uid, prefix, prefix)
                self._admitted.add(owner)
                logger.info("the job %s/%s is let into its part of etcd", owner.namespace, owner.name)
            self._control.require()

    def _keys(self, owner: Owner) -> JobKeys:
        return JobKeys.of(self._install, owner.namespace, owner.name, owner.uid)

    def _run(self) -> None:
        told = False
        while not self._closing.is_set():
            self._due.wait(RETRY if told else None)
            self._due.clear()
            if self._closing.is_set():
                return
            try:
                self._settle()
                told = False
            except Unavailable as error:
                if not told and not self._closing.is_set():
                    logger.warning("jobs cannot be let into their parts of etcd yet: %s", error)
                told = True


class GuardedMembership(Membership):
    """The operator's view of a job whose part of etcd is its own: no term is written while everybody may."""

    def __init__(
        self,
        endpoints: Sequence[str],
        keys: JobKeys,
        *,
        tls: TlsFiles,
        access: EtcdAccess,
        owner: Owner,
        on_change: Callable[[], None],
    ) -> None:
        self._access = access
        self._owner = owner
        self._then = on_change
        self._seen_emptied = 0
        super().__init__(endpoints, keys, tls=tls, on_change=self._look)

    def start(self) -> None:
        self._access.expect(self._owner)
        super().start()

    def raise_term(self, record: TermRecord) -> bool:
        self._access.admit(self._owner)
        return super().raise_term(record)

    def _look(self) -> None:
        emptied = self.view().emptied
        if emptied > self._seen_emptied:
            self._seen_emptied = emptied
            self._access.recover()
        self._then()
