"""What a replica had on its way when it was stopped, and what arrives when another leads."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from deepseek_operator.api.stored_status import read_status
from deepseek_operator.kube import CONFIG_MAPS, PODS, Api, NotLeading, find_cluster
from testcluster.layout import ROOT

Until = Callable[..., None]
CHART = ROOT / "charts" / "deepseek-operator"
ACCOUNT = "operator"


def rendered(place: Any) -> list[dict[str, Any]]:
    """The operator's account, its rights and its fence, as an installation in this namespace has them."""
    values = {
        "fullnameOverride": place.namespace, "watchNamespaces": [place.namespace], "serviceAccount": {"name": ACCOUNT},
        "operator": {"admissionPolicy": {"enabled": True}}, "rbac": {"aggregate": False},
    }  # fmt: skip
    file = place.folder / "values.json"
    file.write_text(json.dumps(values))
    text = place.cluster.helm(
        "template", "dsj", CHART, f"--namespace={place.namespace}", f"--values={file}",
        "--show-only=templates/rbac.yaml", "--show-only=templates/fence.yaml",
    )  # fmt: skip
    return [item for item in yaml.safe_load_all(text) if item]


class Seat:
    """A pod of the operator's account, and what a process in it would authenticate with."""

    def __init__(self, place: Any, name: str) -> None:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": place.namespace},
            "spec": {
                "serviceAccountName": ACCOUNT,
                "securityContext": {
                    "runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}
                },
                "containers": [
                    {
                        "name": "operator", "image": "docker.io/local/member:1",
                        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    }
                ],
            },
        }  # fmt: skip
        place.cluster.apply(pod)
        self.uid = place.cluster.get("pod", name, "-n", place.namespace)["metadata"]["uid"]
        token = place.cluster.kubectl(
            "create", "token", ACCOUNT, "-n", place.namespace, "--bound-object-kind=Pod", f"--bound-object-name={name}"
        ).strip()
        found = yaml.safe_load(Path(place.cluster.layout.kubeconfig).read_text())
        found["users"] = [{"name": found["users"][0]["name"], "user": {"token": token}}]
        self.kubeconfig = place.folder / f"{name}.kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(found))
        self.api = Api(find_cluster(file=str(self.kubeconfig)))
        """With the rights of that process, and no fence of its own: what it sends is already on its way."""


def refused(write: Callable[[], object]) -> bool:
    try:
        write()
    except NotLeading:
        return True
    return False


def late_pod(place: Any, like: str, name: str, incarnation: int) -> dict[str, Any]:
    """What a leader would send for a member of a seat."""
    held = place.cluster.get("pod", like, "-n", place.namespace)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": copy.deepcopy(held["metadata"]), "spec": held["spec"]}
    for key in ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"):
        pod["metadata"].pop(key, None)
    pod["spec"].pop("nodeName", None)
    pod["metadata"]["name"] = name
    pod["metadata"]["labels"]["deepseek.dev/incarnation"] = str(incarnation)
    return pod


def test_no_write_of_a_deposed_leader_lands_not_even_one_that_was_past_its_own_fence(place: Any, until: Until) -> None:
    # Left in the cluster, for the reason that is in the template; it speaks of an account of this namespace alone.
    place.cluster.apply(*rendered(place))
    first, second = Seat(place, "first"), Seat(place, "second")
    began = place.operator(first.uid, kubeconfig=first.kubeconfig)
    began.leads()
    job = place.submit()
    with place.puppets(job):
        place.phase("Running")  # the leader's own writes land
        began.process.send_signal(19)
        follower = place.operator(second.uid, kubeconfig=second.kubeconfig)
        follower.leads()
        before = members(place)
        mine = late_pod(place, "digits-worker-0-0", "digits-worker-0-7", 7)
        until(
            lambda: refused(lambda: first.api.create(PODS, place.namespace, copy.deepcopy(mine))), "a create is refused"
        )
        victim = "digits-worker-1-0"
        config = place.cluster.get("configmaps", "-n", place.namespace, "-l", "deepseek.dev/job=digits")["items"][0]
        assert refused(lambda: first.api.delete(PODS, place.namespace, victim, uid=before[victim], grace=0))
        label = {"metadata": {"name": victim, "uid": before[victim], "labels": {"deepseek.dev/kept": "true"}}}
        assert refused(lambda: first.api.apply(PODS, place.namespace, label))
        about = config["metadata"]
        assert refused(lambda: first.api.delete(CONFIG_MAPS, place.namespace, about["name"], uid=about["uid"]))
        assert members(place) == before

        place.cluster.kubectl("scale", "deepseekjob/digits", "-n", place.namespace, "--replicas=3")
        until(lambda: "digits-worker-2-0" in members(place), "the new leader's writes land")
        assert not follower.said("Forbidden|another replica")


def members(place: Any) -> dict[str, str]:
    return {name: uid for name, uid in place.pods().items() if name.startswith("digits-")}


def test_where_there_is_no_such_policy_the_pod_that_landed_is_removed(place: Any, until: Until) -> None:
    place.operator("one")
    job = place.submit()
    with place.puppets(job):
        place.phase("Running")
        for seat in ("worker-0", "server-1"):
            place.cluster.kubectl("delete", "pod", f"digits-{seat}-0", "-n", place.namespace, "--wait=true")
            until(lambda seat=seat: f"digits-{seat}-1" in place.pods(), f"a replacement of {seat}")
        until(lambda: read_status(place.job()).opened == 2, "the term with the replacement")
        before = place.pods()
        attempts = {
            "digits-worker-0-0": late_pod(place, "digits-worker-0-1", "digits-worker-0-0", 0),
            "digits-server-1-0": late_pod(place, "digits-server-1-1", "digits-server-1-0", 0),
        }
        for pod in attempts.values():
            place.api.create(PODS, place.namespace, pod)
        until(lambda: place.pods() == before, "what came too late is gone")
