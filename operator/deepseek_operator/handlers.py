"""The only module that imports Kopf: its watches feed the world, and nothing else is asked of it.

Handlers are `on.event` alone, standalone: no finalizers, no annotations, no timers; Kopf writes nothing. Pods are
filtered by label at the API server. Kopf runs in a thread and an asyncio loop of its own; rounds run elsewhere.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import kopf
from kubernetes.client import Configuration

from deepseek_operator.kube import JOBS, NODES, PODS, Resource
from deepseek_operator.world import World
from deepseek_runtime.contract.names import LABEL_JOB

logger = logging.getLogger(__name__)

BEAT = 1.0
"""Seconds between two signs of life of the loop."""
WATCH_SECONDS = 240
"""How long one watch request lasts."""


class Feed:
    """The watches. relisted: called when a watch began anew, so that a deletion may have been missed."""

    def __init__(
        self,
        configuration: Callable[[], Configuration],
        world: World,
        *,
        namespaces: Sequence[str],
        relisted: Callable[[], None],
        ended: Callable[[str], None],
    ) -> None:
        self._configuration = configuration
        self._world = world
        self._namespaces = tuple(namespaces)
        self._relisted = relisted
        self._ended = ended
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self.beat = time.monotonic()
        """When the loop last went round."""

    def start(self) -> None:
        self._thread.start()

    def stop(self, within: float) -> None:
        self._stop.set()
        self._thread.join(within)

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    def _run(self) -> None:
        try:
            asyncio.run(self._operate())
        except Exception as error:
            logger.exception("the watches ended")
            self._ended(f"the watches ended: {error}")
        else:
            if not self._stop.is_set():
                self._ended("the watches ended")

    async def _operate(self) -> None:
        beats = asyncio.create_task(self._beat())
        try:
            await kopf.operator(
                registry=self._registry(),
                settings=_settings(),
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
                ready_flag=self._ready,
            )
        finally:
            beats.cancel()

    async def _beat(self) -> None:
        while True:
            self.beat = time.monotonic()
            await asyncio.sleep(BEAT)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            return _connection(self._configuration())

        self._watch(registry, JOBS)
        self._watch(registry, PODS, labels={LABEL_JOB: kopf.PRESENT})
        if not self._namespaces:  # an operator of some namespaces may not look at nodes
            self._watch(registry, NODES)
        return registry

    def _watch(self, registry: kopf.OperatorRegistry, resource: Resource, **filters: Any) -> None:
        group, _, api_version = resource.api_version.rpartition("/")

        @kopf.on.event(
            group=group, version=api_version, plural=resource.plural, id=resource.plural, registry=registry, **filters
        )
        async def seen(event: Any, **_: Any) -> None:
            item = dict(event["object"])
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
            if event["type"] == "DELETED":
                self._world.drop(resource, item)
                return
            self._world.put(resource, item)
            if event["type"] is None:
                self._relisted()


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.watching.label_selectors["", "v1", "pods"] = LABEL_JOB
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.client_timeout = WATCH_SECONDS + 30
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.scanning.disabled = True  # no rights on namespaces and definitions; what is missing at the start ends us
    settings.posting.enabled = False
    settings.queueing.idle_timeout = 1.0
    settings.queueing.exit_timeout = 0.5
    settings.process.ultimate_exiting_timeout = None
    return settings


def _connection(configuration: Configuration) -> kopf.ConnectionInfo:
    token = configuration.auth_settings().get("BearerToken", {}).get("value")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        token=token.split(" ", 1)[-1] if token else None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )
