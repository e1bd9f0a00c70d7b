"""An executor on an API server in memory, and a watch that is as late as a test wants it."""

from collections.abc import Callable
from typing import Any, Final

from builders.api_server import ApiServer
from builders.pods import MADE_AT, OWNER, cluster_job, running
from deepseek_operator.api.status import JobStatus
from deepseek_operator.executors.cluster import ClusterExecutor
from deepseek_operator.executors.inputs import inputs_of, look
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.kube import PODS, Object
from deepseek_operator.reconcile.observe import MemberSeen
from deepseek_operator.reconcile.plan import Plan
from deepseek_runtime.contract.names import Member

SETTINGS: Final = Rendering(etcd=("etcd:2379",), store_uri="webdav://store:8080", store_key=b"k" * 32)
S0: Final = Member("server", 0, 0)
S1: Final = Member("server", 1, 0)
W0: Final = Member("worker", 0, 0)
W1: Final = Member("worker", 1, 0)


class Cluster:
    """An executor, the server it writes to, and a watch that shows what `show` last copied from that."""

    def __init__(self, asked: tuple[Member, ...] = (), **spec: Any) -> None:
        self.server = ApiServer()
        self.spec = spec
        self.shown: list[Object] = []
        self.lost: set[str] = set()
        self.time = MADE_AT + 1000.0
        self.executor = self.another(asked)

    def another(self, asked: tuple[Member, ...] = ()) -> ClusterExecutor:
        """As a process that starts in place of the first would make it."""
        self.executor = ClusterExecutor(
            self.server.api, self.inputs("g1"), pods=lambda: self.shown, node_lost=lambda node: node in self.lost,
            asked=asked, now=lambda: self.time,
        )  # fmt: skip
        return self.executor

    def inputs(self, generation: str) -> Any:
        job = cluster_job(**self.spec)
        return inputs_of(job, OWNER, SETTINGS, look(self.server.api, job, OWNER), generation)

    def show(self) -> None:
        self.shown = self.server.of(PODS)

    def becomes(self, member: Member, how: Callable[[Object], Object]) -> None:
        """The kubelet says how it is."""
        name = f"digits-{member}"
        pod = self.server.objects["pods", name]
        pod["spec"].setdefault("nodeName", "n1")
        self.server.put(how(pod))
        self.show()

    def vanishes(self, member: Member) -> None:
        del self.server.objects["pods", f"digits-{member}"]
        self.show()

    def create(self, *members: Member) -> None:
        self.apply(create=members)
        self.show()

    def run(self, *members: Member) -> None:
        self.create(*members)
        for member in members:
            self.becomes(member, running)
        self.executor.observe()

    def apply(self, finished: str = "", **acts: Any) -> list[str]:
        """The writes that it led to."""
        self.server.writes.clear()
        self.executor.apply(Plan(JobStatus(finished=finished), **acts))
        return list(self.server.writes)

    def seen(self) -> dict[str, MemberSeen]:
        return {str(one.member): one for one in self.executor.observe()}

    def phases(self) -> dict[str, str]:
        return {name: one.phase for name, one in self.seen().items()}
