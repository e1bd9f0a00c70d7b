"""Which checkpoint to load, and which to delete: the rules of protocol/lineage.py on a real store."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deepseek_runtime.checkpoint.index import (
    Index,
    Survey,
    index_name,
    index_path,
    read_index,
    step_folder,
    survey,
    verify,
)
from deepseek_runtime.checkpoint.store import Store, StoreError, open_store
from deepseek_runtime.protocol import lineage
from deepseek_runtime.protocol.lineage import LineageBroken, Step

_FOLDER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Of a job, in a folder of such: a uid. (It becomes part of a URI.)"""


@dataclass(frozen=True, slots=True)
class Choice:
    """A checkpoint that can be read, and the newer ones that cannot, newest first, each with the reason."""

    index: Index
    passed_over: tuple[tuple[Step, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """A checkpoint in a list for people."""

    name: Step
    on_lineage: bool
    """Whether it belongs to the job's present history; others are left from before a roll-back."""
    index: Index | None
    """None: it cannot be read."""
    problem: str = ""

    @property
    def size(self) -> int:
        """Bytes."""
        return 0 if self.index is None else sum(file.size for file in self.index.files)


def choose(store: Store, term: int, skip: Collection[tuple[int, int]] = (), *, deep: bool = False) -> Choice | None:
    """What term `term` restores: the newest of its lineage whose index can be read (Checkpoints 3).

    skip: checkpoints that turned out to be damaged; deep: read every part through before choosing. None: the job has
    no base yet, so it initialises. Raises StoreError: missing when there are checkpoints but none is readable,
    damaged when the lineage itself is, and what the store raises: being unreachable never leads to an older one.
    """
    seen = survey(store)
    if lineage.parent_term(term, seen.bases) is None:
        return None
    try:
        names = list(lineage.candidates(term, seen.bases, seen.indexes))
        wanted = lineage.newest(term, seen.bases, seen.indexes)
    except LineageBroken as error:
        raise StoreError("damaged", f"{store.uri}: {error}") from error
    passed_over: list[tuple[Step, str]] = []
    if wanted is not None and wanted not in names:
        passed_over.append((wanted, f"{store.uri}/{index_path(*wanted)} does not exist"))
    for name in names:
        if tuple(name) in skip:
            passed_over.append((name, "a part of it is damaged"))
            continue
        try:
            index = read_index(store, *name)
            if deep:
                verify(store, index)
        except StoreError as error:
            if error.kind not in ("damaged", "missing"):
                raise
            passed_over.append((name, error.message))
            continue
        return Choice(index, tuple(passed_over))
    reasons = "; ".join(reason for _, reason in passed_over) or "nothing of its lineage is left"
    raise StoreError("missing", f"{store.uri} has no checkpoint that can be read: {reasons}")


@dataclass(frozen=True, slots=True)
class Named:
    """What a person named: a checkpoint, in the store of its job."""

    store: Store
    choice: Choice
    folder: str = ""
    """Of the job, in what was named; empty: that is the job's own."""

    def path(self, path: str) -> str:
        """A path of the store, from what was named on."""
        return f"{self.folder}/{path}" if self.folder else path


def find_checkpoint(
    uri: str, options: Mapping[str, Any] | None = None, step: int | None = None, *, volatile: bool = False
) -> tuple[Store, Choice]:
    """A checkpoint by what a person names: see `find_named`."""
    named = find_named(uri, options, step, volatile=volatile)
    return named.store, named.choice


def find_named(
    uri: str,
    options: Mapping[str, Any] | None = None,
    step: int | None = None,
    *,
    volatile: bool = False,
    other_than: str = "",
) -> Named:
    """uri: of a job's folder (its newest, or the one of `step`), of a folder of such (of the job that saved last, as
    storages have one folder for all jobs of a name), or an index.json.

    other_than: a folder of those that is not meant. Raises StoreError: missing when there is none, with what is there.
    """
    root, name = split_uri(uri)
    store, folder = open_store(root, options, volatile=volatile), ""
    try:
        if name is not None:
            return Named(store, Choice(read_index(store, *name)))
        seen = survey(store)
        if not seen.bases and not seen.indexes:
            folder = _saved_last(store, root, options, volatile, other_than)
            store.close()
            store = open_store(f"{root.rstrip('/')}/{folder}", options, volatile=volatile)
            seen = survey(store)
        return Named(store, _of_step(store, seen, step), folder)
    except BaseException:
        store.close()
        raise


def _of_step(store: Store, seen: Survey, step: int | None) -> Choice:
    """Of one job; None: its newest."""
    if step is None:
        if (choice := choose(store, _next_term(seen))) is None:
            raise StoreError("missing", f"{store.uri} holds no checkpoint of a job")
        return choice
    names = _on_lineage(store, seen)
    for found in names:
        if found.step == step:
            return Choice(read_index(store, *found))
    there = ", ".join(str(found.step) for found in reversed(names)) or "none"
    raise StoreError("missing", f"{store.uri} holds no checkpoint of step {step}; there are: {there}")


def _saved_last(store: Store, root: str, options: Mapping[str, Any] | None, volatile: bool, other_than: str) -> str:
    """Of the jobs whose folders lie in this one: the one with the newest checkpoint that can be restored."""
    folders = set()
    for path in store.list():
        folder, _, rest = path.partition("/")
        if index_name(rest) is not None and _FOLDER.fullmatch(folder):
            folders.add(folder)
    saved: list[tuple[str, str]] = []
    unreadable: StoreError | None = None
    for folder in sorted(folders - {other_than}):
        job = open_store(f"{root.rstrip('/')}/{folder}", options, volatile=volatile)
        try:
            choice = choose(job, _next_term(survey(job)))
        except StoreError as error:
            if error.kind not in ("damaged", "missing"):
                raise
            unreadable = error
            continue
        finally:
            job.close()
        if choice is not None:
            saved.append((choice.index.created, folder))
    if saved:
        return max(saved)[1]
    raise unreadable or StoreError("missing", f"{store.uri} holds no checkpoint of a job")


def list_checkpoints(uri: str, options: Mapping[str, Any] | None = None, *, volatile: bool = False) -> list[Listed]:
    """All checkpoints in a job's folder, newest first; those off the lineage last. Raises StoreError."""
    store = open_store(uri, options, volatile=volatile)
    seen = survey(store)
    names = _on_lineage(store, seen)
    others = sorted({Step(term, step) for term, steps in seen.indexes.items() for step in steps} - set(names))
    listed = []
    for name in [*names, *reversed(others)]:
        try:
            listed.append(Listed(name, name in names, read_index(store, *name)))
        except StoreError as error:
            if error.kind not in ("damaged", "missing", "failed"):
                raise
            listed.append(Listed(name, name in names, None, error.message))
    return listed


def clean(store: Store, term: int, keep: int) -> list[Step]:
    """Checkpoints 4: deletes what `keep` no longer needs, and returns it.

    For the chief of `term`, after it has read its own term in etcd since the newest index was stored. Raises
    StoreError; nothing is deleted on a broken lineage.
    """
    seen = survey(store)
    try:
        doomed = sorted(lineage.garbage(term, keep, seen.bases, seen.indexes, seen.folders))
    except LineageBroken as error:
        raise StoreError("damaged", f"{store.uri}: {error}; nothing was deleted") from error
    for name in doomed:
        store.delete_tree(index_path(*name))  # first: what is half deleted is no checkpoint
        store.delete_tree(step_folder(*name))
    return doomed


def split_uri(uri: str) -> tuple[str, Step | None]:
    pieces = uri.split("/")
    name = index_name("/".join(pieces[-3:])) if len(pieces) >= 3 else None
    if name is None:
        return uri, None
    return "/".join(pieces[:-3]) or ("/" if uri.startswith("/") else "."), name


def _next_term(seen: Survey) -> int:
    return max(seen.bases, default=0) + 1


def _on_lineage(store: Store, seen: Survey) -> list[Step]:
    try:
        return list(lineage.candidates(_next_term(seen), seen.bases, seen.indexes))
    except LineageBroken as error:
        raise StoreError("damaged", f"{store.uri}: {error}") from error
