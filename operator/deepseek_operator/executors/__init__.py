"""What carries a plan out: the interface, and one module for each kind of place.

local.py      members as processes of this machine (processes.py: how they are started, watched, adopted, ended)
cluster.py    members as pods (sight.py: what a pod says; render/: what belongs to a job, as manifests; inputs.py:
              what a job names in its namespace)
etcd.py       the etcd of a job on one machine; etcd_keeper.py keeps it running
"""

from typing import Protocol

from deepseek_operator.reconcile.observe import MemberSeen, Obstacle
from deepseek_operator.reconcile.plan import Plan


class Executor(Protocol):
    """Where members live. Not thread-safe: one loop calls it. It reports changes by the callback it was given."""

    def observe(self) -> tuple[MemberSeen, ...]:
        """All members: those that live, and those that are gone until a plan deletes them."""

    def obstacle(self) -> Obstacle | None:
        """Why no member can be created at all."""

    def apply(self, plan: Plan) -> None:
        """Carries out delete, terminate and create, in this order. Can be repeated.

        delete: killed if alive, and not listed any more when this returns. terminate: asked to leave, killed when it
        has not left within the executor's grace. create: listed when this returns; if it could not be made, as gone,
        or as not made yet.
        """

    def close(self) -> None:
        """Stops watching. Members go on."""
