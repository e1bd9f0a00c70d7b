"""What a job needs beside its pods: config document, code, storage options, budget, network policy."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from deepseek_operator.executors.inputs import Inputs, is_owned
from deepseek_operator.executors.render.budgets import server_budget
from deepseek_operator.executors.render.code import code_map, code_name
from deepseek_operator.executors.render.config import config_map
from deepseek_operator.executors.render.network import network_policy
from deepseek_operator.executors.render.parts import Manifest, Owner, job_labels
from deepseek_operator.executors.render.storage import options_secret
from deepseek_operator.kube import CONFIG_MAPS, NETWORK_POLICIES, PDBS, SECRETS, Api, Exists, Resource
from deepseek_runtime.contract.names import LABEL_PART

logger = logging.getLogger(__name__)

OURS = ("config", "code")
"""Parts of which there is one a generation."""


class Names(NamedTuple):
    """Of ConfigMaps."""

    config: str
    code: str | None


class Belongings:
    """One job's. Nothing is written again that this process has written as it is."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._written: dict[tuple[str, str], Manifest] = {}

    def names(self, inputs: Inputs) -> Names:
        code = code_name(inputs.owner, inputs.code) if inputs.code is not None else None
        return Names(inputs.owner.part(f"config-{inputs.generation}"), code)

    def ensure(self, inputs: Inputs, pods: Callable[[], Iterable[Manifest]]) -> None:
        """Raises ApiError."""
        if inputs.storage is None or inputs.config is None:
            return
        owner = inputs.owner
        if inputs.settings.network_policies:
            policy = network_policy(inputs.job, owner, inputs.settings, inputs.storage)
            self._apply(NETWORK_POLICIES, owner, policy)
        budget = server_budget(inputs.job, owner)
        if budget is not None:
            self._apply(PDBS, owner, budget)
        else:
            self._remove(PDBS, owner, owner.part("servers"))
        secret = options_secret(owner, inputs.storage)
        if secret is not None:
            self._apply(SECRETS, owner, secret)
        if inputs.code is not None:
            self._create(CONFIG_MAPS, owner, code_map(owner, inputs.code))
        if self._create(CONFIG_MAPS, owner, config_map(owner, inputs.config, *_image(inputs))):
            self._sweep(inputs, pods)

    def _apply(self, resource: Resource, owner: Owner, manifest: Manifest) -> None:
        key = (resource.plural, manifest["metadata"]["name"])
        if self._written.get(key) != manifest:
            self._api.apply(resource, owner.namespace, manifest)
            self._written[key] = manifest

    def _create(self, resource: Resource, owner: Owner, manifest: Manifest) -> bool:
        """Of what never changes; True: it was not there. Asked each time, for somebody may have deleted it."""
        try:
            self._api.create(resource, owner.namespace, manifest)
        except Exists:
            return False
        return True

    def _remove(self, resource: Resource, owner: Owner, name: str) -> None:
        key = (resource.plural, name)
        if self._written.get(key) == {}:
            return
        held = self._api.get(resource, owner.namespace, name)
        if held is not None and is_owned(held, owner):
            self._api.delete(resource, owner.namespace, name, uid=held["metadata"]["uid"])
        self._written[key] = {}

    def _sweep(self, inputs: Inputs, pods: Callable[[], Iterable[Manifest]]) -> None:
        """A generation has begun: what older ones had goes, unless a pod still has it."""
        owner = inputs.owner
        used = {name for name in self.names(inputs) if name is not None}
        for pod in pods():
            used |= set(_config_maps(pod))
        labels = ",".join(f"{key}={value}" for key, value in job_labels(owner).items())
        for held in self._api.list(CONFIG_MAPS, owner.namespace, labels):
            about = held["metadata"]
            ours = is_owned(held, owner) and (about.get("labels") or {}).get(LABEL_PART) in OURS
            if ours and about["name"] not in used:
                logger.info("no member needs the ConfigMap %s any more", about["name"])
                self._api.delete(CONFIG_MAPS, owner.namespace, about["name"], uid=about["uid"])


def _image(inputs: Inputs) -> tuple[str, list[str]]:
    pods = (inputs.job.spec.servers.pod, inputs.job.spec.workers.pod)
    secrets = [*inputs.settings.pull_secrets, *(one.name for pod in pods for one in pod.image_pull_secrets)]
    return inputs.job.spec.image or inputs.settings.image, list(dict.fromkeys(secrets))


def _config_maps(pod: Mapping[str, object]) -> Iterable[str]:
    spec = pod.get("spec")
    volumes = spec.get("volumes") if isinstance(spec, Mapping) else None
    for volume in volumes or []:
        name = (volume.get("configMap") or {}).get("name")
        if name:
            yield str(name)
