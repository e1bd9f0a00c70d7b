"""What etcd holds under a job's prefix, as records: pure but for a logged warning about values that cannot be read."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from pydantic import ValidationError

from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.names import Role
from deepseek_runtime.contract.records import Command, Progress, Record, Registration, Request, State, TermRecord
from deepseek_runtime.membership.connection import Entry, Listing

logger = logging.getLogger(__name__)

RecordT = TypeVar("RecordT", bound=Record)

_SINGLE: Mapping[str, type[Record]] = {"term": TermRecord, "state": State, "progress": Progress}
_NAMED: Mapping[str, type[Record]] = {"requests": Request, "commands": Command}


@dataclass(frozen=True)
class View:
    """What etcd held when it was last heard. Never changes; ask for a new one."""

    term: TermRecord | None = None
    registrations: Mapping[tuple[Role, int], Registration] = field(default_factory=lambda: MappingProxyType({}))
    state: State | None = None
    progress: Progress | None = None
    requests: Mapping[str, Request] = field(default_factory=lambda: MappingProxyType({}))
    commands: Mapping[str, Command] = field(default_factory=lambda: MappingProxyType({}))
    unknown_since: float | None = None
    """time.monotonic() since when etcd has not answered; None while connected and listed."""
    listed_at: float | None = None
    """time.monotonic() of the newest listing after which registrations may be missing without anybody being lost: the
    first, of an emptied etcd, or after an outage long enough to end leases. Members need some time to register anew."""
    emptied: int = 0
    """How often etcd was found to be another or an emptied cluster."""


@dataclass(frozen=True, slots=True)
class Known:
    """Everything under the prefix up to `revision` of `cluster`."""

    cluster: int
    revision: int
    entries: Mapping[str, Entry]


def known(listing: Listing) -> Known:
    return Known(listing.cluster, listing.revision, {entry.key: entry for entry in listing.entries})


def another_history(before: Known, listing: Listing) -> bool:
    """Whether `listing` comes from another or an emptied cluster than `before`.

    The cluster's id is not enough (etcd derives it from its address and token, so an emptied one may have the same),
    nor is the revision (which may have grown past the old one): what was written up to the revision we know, we know.
    True is certain; False is not, when nothing is left of the time that we know (Watcher asks for that, too).
    """
    if listing.cluster != before.cluster or listing.revision < before.revision:
        return True
    for entry in listing.entries:
        ours = before.entries.get(entry.key)
        if entry.modified <= before.revision and entry != ours:
            return True
        if entry.created <= before.revision and (ours is None or ours.created != entry.created):
            return True
    return False


class Parser:
    """Entries to records. Values that cannot be read are left out, with one warning a key."""

    def __init__(self, keys: JobKeys) -> None:
        self._keys = keys
        self._warned: set[str] = set()
        self._parsed: dict[Entry, Record | None] = {}

    def view(self, entries: Iterable[Entry]) -> View:
        """The records among `entries`. Work only for entries that the last call did not have."""
        parsed: dict[Entry, Record | None] = {}
        single: dict[str, Record] = {}
        registrations: dict[tuple[Role, int], Registration] = {}
        requests: dict[str, Request] = {}
        commands: dict[str, Command] = {}
        for entry in entries:
            record = parsed[entry] = self._parsed[entry] if entry in self._parsed else self._parse(entry)
            path = entry.key.removeprefix(self._keys.prefix)
            if isinstance(record, Registration):
                registrations[_seat(path)] = record
            elif isinstance(record, Request):
                requests[path.split("/", 1)[1]] = record
            elif isinstance(record, Command):
                commands[path.split("/", 1)[1]] = record
            elif record is not None:
                single[path] = record
        self._parsed = parsed
        return View(
            term=_of(TermRecord, single.get("term")),
            registrations=MappingProxyType(registrations),
            state=_of(State, single.get("state")),
            progress=_of(Progress, single.get("progress")),
            requests=MappingProxyType(requests),
            commands=MappingProxyType(commands),
        )

    def _parse(self, entry: Entry) -> Record | None:
        model = self._model(entry.key)
        return None if model is None else self.read(model, entry)

    def read(self, model: type[RecordT], entry: Entry | None) -> RecordT | None:
        """The record in `entry`; None if there is none, or none that can be read."""
        if entry is None:
            return None
        try:
            return model.model_validate_json(entry.value)
        except ValidationError as error:
            if entry.key not in self._warned:
                self._warned.add(entry.key)
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"]) or "value"
                logger.warning("ignored what etcd holds at %s: %s: %s", entry.key, where, first["msg"])
            return None

    def _model(self, key: str) -> type[Record] | None:
        """None: not a key that this version knows."""
        path = key.removeprefix(self._keys.prefix)
        if path in _SINGLE:
            return _SINGLE[path]
        folder, _, name = path.partition("/")
        if folder == "members":
            role, _, index = name.partition("/")
            canonical = index.isascii() and index.isdigit() and str(int(index)) == index
            return Registration if role in ("server", "worker") and canonical else None
        return _NAMED.get(folder) if name else None


def _seat(path: str) -> tuple[Role, int]:
    _, role, index = path.split("/")
    return ("server" if role == "server" else "worker"), int(index)


def _of(model: type[RecordT], record: Record | None) -> RecordT | None:
    return record if isinstance(record, model) else None
