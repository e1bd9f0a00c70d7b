"""A model world whose members are pods: what a plan asks for, an API server in memory keeps."""

from collections.abc import Callable

from builders.api_server import ApiServer
from builders.pods import OWNER, cluster_job, running
from builders.world import EPOCH, World
from deepseek_operator.executors.cluster import ClusterExecutor
from deepseek_operator.executors.inputs import Found, inputs_of
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.kube import PODS, Object

SETTINGS = Rendering(etcd=("etcd:2379",), store_uri="s3://bucket")


class PodWorld(World):
    """Etcd and the clock are the model's, members the executor's."""

    def __init__(self, servers: int = 2, workers: int = 2) -> None:
        super().__init__(servers, workers, local=False)
        self.server = ApiServer()
        job = cluster_job(servers={"replicas": servers}, workers={"replicas": workers})
        inputs = inputs_of(job, OWNER, SETTINGS, Found(), "g1")
        self.executor = ClusterExecutor(
            self.server.api, inputs, pods=lambda: self.server.of(PODS), node_lost=lambda node: node in self.lost,
            now=lambda: EPOCH + self.time,
        )  # fmt: skip
        self.lost: set[str] = set()

    def round(self) -> list[str]:
        """Until nothing is to be done at this moment; what the API server was asked to write about pods."""
        self.server.writes.clear()
        for _ in range(10):
            self.members = {one.member: one for one in self.executor.observe()}
            made = self.plan()
            if not made.writes(self.status):
                return [write for write in self.server.writes if " pods " in write]
            self.executor.apply(made)
            known = dict(self.members)
            self.apply(made)
            self.members = known
        raise AssertionError(f"does not settle: {made.events}")

    def becomes(self, member: str, how: Callable[[Object], Object]) -> None:
        pod = self.server.objects["pods", f"digits-{member}"]
        pod["spec"].setdefault("nodeName", "n-" + member)
        self.server.put(how(pod))

    def begin(self) -> "PodWorld":
        self.round()
        for pod in self.server.of(PODS):
            self.becomes(pod["metadata"]["name"].removeprefix("digits-"), running)
        self.round()
        self.register()
        self.round()
        self.open_term().train(100)
        self.round()
        return self
