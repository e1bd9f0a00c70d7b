"""Keys, users and roles in etcd whose job is gone: found at the start, and now and then, for there are no finalizers.

Nothing is deleted on suspicion: keys are listed first, jobs afterwards, so a job that has keys and is not listed was
deleted, and whoever lists only some namespaces sweeps only these.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence

from deepseek_operator.etcd_access import EtcdAccess, owner_of
from deepseek_operator.executors.render.parts import Owner
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.membership.connection import Connection
from deepseek_runtime.membership.tls import TlsFiles

logger = logging.getLogger(__name__)

CALL_SECONDS = 10.0


class EtcdKeys:
    """This installation's part of etcd. access: None where all jobs share a user. Methods raise Unavailable."""

    def __init__(
        self, endpoints: Sequence[str], tls: TlsFiles | None, install: str, access: EtcdAccess | None = None
    ) -> None:
        self._connection = Connection(endpoints, CALL_SECONDS, tls)
        self._install = install
        self._access = access

    def close(self) -> None:
        self._connection.close()

    def forget(self, owner: Owner) -> None:
        if self._access is not None:
            self._access.forget(owner)  # first: nobody writes the keys again
        keys = JobKeys.of(self._install, owner.namespace, owner.name, owner.uid)
        self._connection.delete_all(keys.prefix)

    def owners(self) -> set[Owner]:
        """Whose keys, or role, there are."""
        found = self._access.owners() if self._access is not None else set()
        keys = self._connection.list(JobKeys.root(self._install)).entries
        return found | {owner for entry in keys if (owner := owner_of(self._install, entry.key)) is not None}

    def sweep(self, listed: Callable[[], Iterable[str]], namespaces: Collection[str]) -> int:
        """listed: lists the uids of all jobs now, and of those whose pods are not all gone; namespaces: empty: all."""
        owners = self.owners()
        if not owners:
            return 0
        there = set(listed())
        gone = [o for o in owners if o.uid not in there and (not namespaces or o.namespace in namespaces)]
        for owner in gone:
            logger.info("the keys of %s/%s (%s) are deleted: the job is gone", owner.namespace, owner.name, owner.uid)
            self.forget(owner)
        return len(gone)
