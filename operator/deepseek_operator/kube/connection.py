"""Where the API server is and who we are there, as the `kubernetes` client finds it."""

import os

from kubernetes import config as kubernetes_config
from kubernetes.client import Configuration
from kubernetes.config.incluster_config import SERVICE_HOST_ENV_NAME, SERVICE_TOKEN_FILENAME
from yaml import YAMLError


class NoCluster(Exception):
    """No API server is known; the message is for people."""


def find_cluster(context: str | None = None, file: str | None = None) -> Configuration:
    """In a pod its service account, unless KUBECONFIG or `file` says otherwise; else the kubeconfig file.

    Raises NoCluster.
    """
    configuration = Configuration()
    in_pod = SERVICE_HOST_ENV_NAME in os.environ and os.path.exists(SERVICE_TOKEN_FILENAME)
    try:
        if in_pod and context is None and not _file(file):
            kubernetes_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=_file(file), context=context, client_configuration=configuration
            )
    except (kubernetes_config.ConfigException, YAMLError, OSError) as error:
        raise NoCluster(
            f"no Kubernetes cluster is known here ({_flat(error)}): set KUBECONFIG, or give the pod a service account"
        ) from error
    return configuration


def _flat(error: Exception) -> str:
    return " ".join(str(error).split())


def current_namespace(context: str | None = None, file: str | None = None) -> str:
    """The namespace of the pod or of the kubeconfig's context."""
    folder = os.path.dirname(SERVICE_TOKEN_FILENAME)
    if context is None and not _file(file) and os.path.exists(os.path.join(folder, "namespace")):
        with open(os.path.join(folder, "namespace"), encoding="utf-8") as mounted:
            return mounted.read().strip()
    try:
        contexts, active = kubernetes_config.list_kube_config_contexts(_file(file))  # type: ignore[no-untyped-call]
    except (kubernetes_config.ConfigException, YAMLError, OSError):
        return "default"
    chosen = next((c for c in contexts if c["name"] == context), active)
    return str((chosen or {}).get("context", {}).get("namespace") or "default")


def _file(given: str | None) -> str | None:
    """The library reads the variable when it is imported; we when we are asked."""
    return given or os.environ.get("KUBECONFIG") or None
