"""/healthz, /readyz and /metrics over HTTP.

/healthz fails when a thread that must go round has not for too long: then the kubelet starts us again. /readyz says
whether the watches have begun; a replica that does not lead is ready.
"""

import http.server
import logging
import threading
import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

logger = logging.getLogger(__name__)

READS_WITHIN = 5.0
"""Seconds that a client may take to ask."""


class Probes:
    """beats: name -> (when it last went round on the monotonic clock, the most seconds that may be ago)."""

    def __init__(
        self,
        port: int,
        registry: CollectorRegistry,
        *,
        ready: Callable[[], bool],
        beats: Mapping[str, tuple[Callable[[], float], float]],
    ) -> None:
        """Raises OSError when the port cannot be had."""
        self._registry = registry
        self._ready = ready
        self._beats = dict(beats)
        probes = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = READS_WITHIN

            def do_GET(self) -> None:
                code, kind, body = probes.answer(self.path.partition("?")[0])
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                logger.debug(format, *args)

        self._server = http.server.ThreadingHTTPServer(("", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.5}, name="probes", daemon=True
        )

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status code, content type, body."""
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
        if path == "/healthz":
            late = self.late()
            text = "; ".join(late) if late else "ok"
            return (503 if late else 200), "text/plain", f"{text}\n".encode()
        if path == "/readyz":
            ready = self._ready()
            return (200 if ready else 503), "text/plain", b"ok\n" if ready else b"the watches have not begun\n"
        return 404, "text/plain", b"/metrics, /healthz, /readyz\n"

    def late(self) -> list[str]:
        """What has stood still for too long."""
        now = time.monotonic()
        return [
            f"{name}: no sign of life for {now - beat():.0f} s"
            for name, (beat, most) in self._beats.items()
            if now - beat() > most
        ]
