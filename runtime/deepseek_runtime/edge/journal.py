"""Lines appended to files of the member's own folder: what was applied, and what the chief measured.

One write a line, so that a killed process leaves whole lines only. What each line says: docs/formats/journals.md.
"""

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from deepseek_runtime.protocol.effects import LoadParts, PartData

logger = logging.getLogger(__name__)

_KEPT: Final = 16 << 20
"""Bytes of lines that wait for a disk that is full."""


class Journal:
    """Appends JSON lines to `path`; a folder that is missing or full costs a warning, never the job.

    What a full disk did not take is written with the next line, in order.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: int | None = None
        self._failed = False
        self._waiting = b""
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
                size = os.fstat(self._file).st_size
                if size and os.pread(self._file, 1, size - 1) != b"\n":
                    self._waiting = b"\n"  # a process before this one could write half a line only
            except OSError as error:
                logger.warning("%s cannot be written: %s", path, error)

    def write(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        if len(self._waiting) + len(data) > _KEPT:
            return
        self._waiting += data
        try:
            # A disk that fills up takes a part of it and says how much.
            self._waiting = self._waiting[os.write(self._file, self._waiting) :]
            self._failed = False
        except OSError as error:
            if not self._failed:
                logger.warning("a journal cannot be written, its lines wait: %s", error.strerror)
            self._failed = True

    @property
    def size(self) -> int:
        """Bytes of whole lines, those that wait for the disk among them. 0 where nothing can be written."""
        return 0 if self._file is None else os.fstat(self._file).st_size + len(self._waiting)

    def since(self, start: int) -> bytes:
        """What was written from byte `start` on."""
        if self._file is None:
            return b""
        return os.pread(self._file, max(0, os.fstat(self._file).st_size - start), start) + self._waiting

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


def begins(call: LoadParts, parts: Mapping[int, PartData]) -> dict[str, Any]:
    """What a new line of these spans begins from: the checkpoint may be deleted before anybody counts.

    `parts`: [span, its ordinal there]. A foreign checkpoint's ranges were trained by another job: `inherited` says
    which, as [span, watermark, ranges above].
    """
    source = call.source
    line: dict[str, Any] = {
        "line": call.term,
        "from": [source.term, source.step],
        "parts": [[span, part.ordinal] for span, part in sorted(parts.items())],
    }
    if source.foreign:
        line["inherited"] = [
            [span, part.applied.watermark, sorted(part.applied.above)]
            for span, part in sorted(parts.items())
            if not source.weights_only
        ]
    return line


def stamped(line: Mapping[str, Any]) -> dict[str, Any]:
    return {"time": round(time.time(), 3), **line}
