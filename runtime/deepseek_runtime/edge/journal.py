"""Lines appended to files of the member's own folder: what was applied, and what the chief measured.

One write a line, so that a killed process leaves whole lines only.
"""

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class Journal:
    """Appends JSON lines to `path`; a folder that is missing or full costs a warning, never the job."""

    def __init__(self, path: Path | None) -> None:
        self._file: int | None = None
        self._failed = False
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                logger.warning("%s cannot be written: %s", path, error)

    def write(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")
            self._failed = False
        except OSError as error:
            if not self._failed:
                logger.warning("a journal line is lost: %s", error)
            self._failed = True

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def folder(data_dir: str) -> Path | None:
    return Path(data_dir) if data_dir else None


def pushes(data_dir: str, index: int) -> Journal:
    """What server `index` applied, of all its incarnations: what samples_lost and samples_repeated are counted from."""
    where = folder(data_dir)
    return Journal(where / f"pushes-{index}.jsonl" if where else None)


def metrics(data_dir: str) -> Journal:
    """The chief's measurements: a line a push, an evaluation, an event."""
    where = folder(data_dir)
    return Journal(where / "metrics.jsonl" if where else None)


def stamped(line: Mapping[str, Any]) -> dict[str, Any]:
    return {"time": round(time.time(), 3), **line}
