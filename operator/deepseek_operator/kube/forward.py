"""A connection to a port of a pod, through the API server and the pod's kubelet: what `kubectl port-forward` does."""

import socket
from typing import Any, cast

from kubernetes.client import ApiClient, Configuration, CoreV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward
from websocket import WebSocketException

from deepseek_operator.kube.errors import Forbidden, Unreachable


def connect(configuration: Configuration, namespace: str, pod: str, port: int, timeout: float) -> socket.socket:
    """Raises Forbidden, Unreachable. That nobody listens in the pod shows when the first answer does not come."""
    client = CoreV1Api(ApiClient(configuration))
    try:
        made: Any = portforward(
            client.connect_get_namespaced_pod_portforward, pod, namespace, ports=str(port), _request_timeout=timeout
        )
    except ApiException as error:
        message = f"a connection to the pod {pod}: {' '.join(str(error.reason).split())}"
        raise (Forbidden if error.status in (401, 403) else Unreachable)(message) from error
    except (WebSocketException, OSError) as error:
        raise Unreachable(f"no connection to the pod {pod}: {error}") from error
    found = made.socket(port)
    found.settimeout(timeout)
    return cast(socket.socket, found)
