"""What an executor makes and removes beside pods: documents of generations, code, budgets, claims."""

from builders.api_server import config_map
from builders.executor import S0, W0, Cluster
from builders.pods import OWNER, cluster_job
from deepseek_operator.executors.inputs import Found, look
from deepseek_operator.kube import CONFIG_MAPS, NETWORK_POLICIES, PDBS, SECRETS
from deepseek_runtime.contract.names import Member


def test_what_an_older_generation_had_goes_when_no_pod_has_it() -> None:
    cluster = Cluster()
    cluster.run(S0)
    cluster.executor.use(cluster.inputs("g2"))
    cluster.apply(create=(Member("server", 0, 1),))
    cluster.show()
    assert cluster.server.names(CONFIG_MAPS) == ["digits-b8b8b8b8-config-g1", "digits-b8b8b8b8-config-g2"]
    cluster.vanishes(S0)
    cluster.executor.use(cluster.inputs("g3"))
    cluster.apply(create=(Member("server", 0, 2),))
    assert cluster.server.names(CONFIG_MAPS) == ["digits-b8b8b8b8-config-g2", "digits-b8b8b8b8-config-g3"]


def test_servers_that_are_scaled_to_one_have_no_budget() -> None:
    cluster = Cluster()
    cluster.create(S0)
    assert cluster.server.names(PDBS) == ["digits-b8b8b8b8-servers"]
    cluster.spec["servers"] = {"replicas": 1}
    cluster.executor.use(cluster.inputs("g1"))
    cluster.create(W0)
    assert cluster.server.names(PDBS) == []
    assert cluster.server.names(NETWORK_POLICIES) == ["digits-b8b8b8b8-members"]
    assert cluster.server.names(SECRETS) == ["digits-b8b8b8b8-store-worker-keys"]


def test_the_code_is_copied_and_outlives_the_user_s() -> None:
    cluster = Cluster()
    cluster.spec["training"] = {"script": "train.py", "code": {"configMap": "mine"}, "steps": 10}
    missing = cluster.inputs("g1")
    assert missing.obstacle is not None
    assert missing.obstacle.reason == "CodeMissing"
    assert "kubectl create configmap mine" in missing.obstacle.remedy
    cluster.executor.use(missing)
    assert cluster.executor.obstacle() == missing.obstacle

    cluster.server.put(config_map("mine", train_py="print(1)"), CONFIG_MAPS)
    cluster.executor.use(cluster.inputs("g1"))
    assert cluster.executor.obstacle() is None
    cluster.create(S0)
    code = next(name for name in cluster.server.names(CONFIG_MAPS) if "-code-" in name)
    assert cluster.server.objects["configmaps", code]["data"] == {"train.py": "print(1)"}
    del cluster.server.objects["configmaps", "mine"]
    found = look(cluster.server.api, cluster_job(**cluster.spec), OWNER)
    assert found.code is not None
    assert dict(found.code.files) == {"train.py": b"print(1)"}
    assert found.obstacle is None


def test_the_claim_is_looked_at() -> None:
    cluster = Cluster(checkpoint={"storage": {"pvc": {"claimName": "shared"}}})
    assert cluster.executor.obstacle() is not None
    assert look(cluster.server.api, cluster_job(), OWNER) == Found()
