"""The operator's log lines: JSON in pods, key=value on a terminal, each with the job (and term) that it is about."""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar

_about: ContextVar[dict[str, object] | None] = ContextVar("about", default=None)


@contextlib.contextmanager
def about(**what: object) -> Iterator[None]:
    """Lines written inside, by this thread, carry these: job, term, member."""
    token = _about.set((_about.get() or {}) | what)
    try:
        yield
    finally:
        _about.reset(token)


class Lines(logging.Formatter):
    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._json = as_json

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        what = _about.get() or {}
        name = record.name.removeprefix("deepseek_operator.")
        if self._json:
            line = {"time": at, "level": record.levelname, "logger": name, **what, "message": text}
            return json.dumps(line, ensure_ascii=False, default=str)
        return " ".join([at, record.levelname, *(f"{key}={value}" for key, value in what.items()), text])


def start_logging(kind: str, level: str) -> None:
    """kind: json, text, or auto."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(kind == "json" or (kind == "auto" and not sys.stderr.isatty())))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Kopf tells of each event; urllib3 of each connection.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)  # that signals are ours
    for noisy in ("kopf", "urllib3", "asyncio", "aiohttp"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
