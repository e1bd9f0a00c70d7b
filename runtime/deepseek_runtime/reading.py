"""What a job stored, for people outside its cluster: a small HTTP server that `dsj` starts as a pod beside the job.

    python -m deepseek_runtime.reading --port 7078 --idle 300

It listens on the pod's own loopback alone, so whoever reaches it came by a port-forward that the API server allowed.
The config document and credentials are those of members (DSJ_CONFIG, DSJ_SECRETS).

    GET /checkpoints     {uri, checkpoints: [{step, term, created, size, current, problem}]}
    GET /model?step=N    a plain safetensors file; the header X-Result says what it is, as JSON
    GET /metrics         lines of metrics.jsonl, as far as the chief has stored them
An error is 409 with {message}.
"""

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from deepseek_runtime.checkpoint.choose import list_checkpoints
from deepseek_runtime.checkpoint.export import export
from deepseek_runtime.checkpoint.journals import read_measurements
from deepseek_runtime.checkpoint.store import PIECE, StoreError, open_store
from deepseek_runtime.contract import exit_codes, names
from deepseek_runtime.contract.config import Checkpoint, ConfigError, load_config, with_secret_options

_log = logging.getLogger(__name__)
PORT = 7078
IDLE = 300.0
"""Seconds without a request after which it ends: whoever asked is gone."""


class Reading(ThreadingHTTPServer):
    """address: (host, port); folder: where a model may be written before it is sent."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], checkpoint: Checkpoint, folder: Path) -> None:
        super().__init__(address, _Request)
        self.checkpoint = checkpoint
        self.folder = folder
        self.asked = time.monotonic()
        self.busy = 0

    def idle_for(self) -> float:
        return 0.0 if self.busy else time.monotonic() - self.asked


class _Request(BaseHTTPRequestHandler):
    server: Reading
    timeout = 60.0

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        answer = {"/checkpoints": self._checkpoints, "/model": self._model, "/metrics": self._metrics}.get(parts.path)
        if answer is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.server.busy += 1
        try:
            answer(parse_qs(parts.query))
        except StoreError as error:
            self._send(HTTPStatus.CONFLICT, json.dumps({"message": str(error)}).encode())
        finally:
            self.server.busy -= 1
            self.server.asked = time.monotonic()

    def _checkpoints(self, query: dict[str, list[str]]) -> None:
        checkpoint = self.server.checkpoint
        listed = [
            {"step": one.name.step, "term": one.name.term, "created": one.index.created if one.index else None,
             "size": one.size, "current": one.on_lineage, "problem": one.problem}
            for one in list_checkpoints(checkpoint.uri, checkpoint.storage_options)
        ]  # fmt: skip
        self._send(HTTPStatus.OK, json.dumps({"uri": checkpoint.uri, "checkpoints": listed}).encode())

    def _metrics(self, query: dict[str, list[str]]) -> None:
        checkpoint = self.server.checkpoint
        store = open_store(checkpoint.uri, checkpoint.storage_options)
        try:
            found = b"".join(read_measurements(store))
        finally:
            store.close()
        self._send(HTTPStatus.OK, found)

    def _model(self, query: dict[str, list[str]]) -> None:
        checkpoint = self.server.checkpoint
        step = query.get("step", [""])[0]
        with tempfile.TemporaryDirectory(dir=self.server.folder) as folder:
            file = Path(folder) / "model.safetensors"
            done = export(
                checkpoint.uri, file, int(step) if step.isdigit() else None, options=checkpoint.storage_options
            )
            said: dict[str, Any] = {
                "step": done.step, "term": done.term, "tensors": done.tensors, "size": done.size,
                "passedOver": [[at.step, at.term, why] for at, why in done.passed_over],
            }  # fmt: skip
            self.send_response(HTTPStatus.OK)
            self.send_header("X-Result", json.dumps(said))
            self.send_header("Content-Length", str(file.stat().st_size))
            self.end_headers()
            with file.open("rb") as content:
                shutil.copyfileobj(content, self.wfile, PIECE)

    def _send(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: Any) -> None:
        _log.info(format, *values)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deepseek_runtime.reading", description=__doc__)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--idle", type=float, default=IDLE, help="seconds without a request after which it ends")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        config = with_secret_options(
            load_config(os.environ.get(names.ENV_CONFIG, "")), os.environ.get(names.ENV_SECRETS, "")
        )
    except ConfigError as error:
        sys.stderr.write(f"reading: {error}\n")
        return exit_codes.CONFIG
    server = Reading(("127.0.0.1", given.port), config.checkpoint, Path(tempfile.gettempdir()))
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    _log.info("listening on port %d", given.port)
    while (left := given.idle - server.idle_for()) > 0:
        time.sleep(min(left, 1.0))  # the thing that is waited for is the time
    server.shutdown()
    return exit_codes.OK


if __name__ == "__main__":
    sys.exit(main())
