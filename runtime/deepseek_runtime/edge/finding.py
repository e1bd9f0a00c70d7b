"""What a term begins from: the newest checkpoint of the job's own lineage, or what `restoreFrom` names."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Final

from deepseek_runtime.checkpoint import choose
from deepseek_runtime.checkpoint.index import Index, moments_path
from deepseek_runtime.checkpoint.read import verify_part
from deepseek_runtime.checkpoint.spans import read_span
from deepseek_runtime.checkpoint.store import PIECE, Store, StoreError, open_store
from deepseek_runtime.contract.config import JobConfig
from deepseek_runtime.protocol.effects import FindCheckpoint, Found, LoadParts, PartData
from deepseek_runtime.protocol.files import FileRef, Source
from deepseek_runtime.protocol.lineage import Step
from deepseek_runtime.protocol.settings import settings_of

_MOST_NAMES: Final = 20
"""In a message."""


def find(config: JobConfig, store: Store, call: FindCheckpoint) -> Found | None:
    """None: there is nothing, the job initialises. Raises StoreError."""
    with _of_field("checkpoint.storage"):
        choice = choose.choose(store, call.term, call.skip)
        if choice is None:
            store.check()
    if choice is not None:
        # What is in `skip` was said when it turned out to be damaged.
        told = _told((name, why) for name, why in choice.passed_over if tuple(name) not in call.skip)
        return replace(_found(config, choice.index), passed_over=told)
    if config.checkpoint.restore_from is None:
        return None
    with _of_field("checkpoint.restoreFrom"):
        try:
            named = choose.find_named(
                config.checkpoint.restore_from, config.checkpoint.storage_options, other_than=config.uid
            )
        except StoreError as error:
            if error.kind != "missing" or not (others := _jobs_beside(config)):
                raise
            raise StoreError("missing", f"{error.message}; jobs that have stored something there: {others}") from error
        try:
            return _adopted(config, store, named, call.term)
        finally:
            named.store.close()


def _told(passed_over: Iterable[tuple[Step, str]]) -> tuple[str, ...]:
    return tuple(f"checkpoint of step {name.step} (term {name.term}): {why}" for name, why in passed_over)


def _jobs_beside(config: JobConfig) -> str:
    """Names of the jobs in our own namespace's part of the storage, if `restoreFrom` names one of that."""
    checkpoint = config.checkpoint
    own = f"/{config.job}/{config.uid}"
    beside = checkpoint.uri.removesuffix(own)
    if beside == checkpoint.uri or not (checkpoint.restore_from or "").startswith(f"{beside}/"):
        return ""
    store = open_store(beside, checkpoint.storage_options)
    try:
        names = {path.split("/")[0] for path in store.list() if config.uid not in path.split("/")}
    finally:
        store.close()
    return ", ".join(sorted(names)[:_MOST_NAMES])


@contextmanager
def _of_field(name: str) -> Iterator[None]:
    """Says which of the manifest's two places is meant."""
    try:
        yield
    except StoreError as error:
        raise StoreError(error.kind, f"{name}: {error.message}") from error


def _adopted(config: JobConfig, store: Store, named: choose.Named, term: int) -> Found:
    """What restoreFrom names, with the files that are not spans copied into the job's own folder.

    Spans are named from what restoreFrom says on, not from the folder in it: each server opens just that.
    """
    foreign, index = named.store, named.choice.index
    found = replace(_found(config, index), passed_over=_told(named.choice.passed_over))
    training = config.training
    same = (index.batch_size, index.local_steps, index.seed) == (
        training.batch_size,
        training.update.local_steps,
        training.seed,
    )
    fixed = _copied(foreign, store, found.fixed, found.fixed.path) if found.fixed else None
    moments = None
    if found.moments is not None and same:
        moments = _copied(foreign, store, found.moments, moments_path(term, index.step))
    parts = {span: replace(ref, path=named.path(ref.path)) for span, ref in found.source.parts.items()}
    source = replace(found.source, parts=parts, weights_only=not same, foreign=True)
    return replace(found, source=source, fixed=fixed, moments=moments, foreign=True)


def _copied(foreign: Store, store: Store, file: FileRef, path: str) -> FileRef:
    verify_part(foreign, file)
    with foreign.open_read(file.path) as source, store.open_write(path) as sink:
        while piece := source.read(PIECE):
            sink.write(piece)
    return replace(file, path=path)


def load_parts(config: JobConfig, store: Store, call: LoadParts) -> dict[int, PartData]:
    """Raises StoreError."""
    if not call.source.foreign:
        return _read(store, call)
    # By what the person wrote, not by the store's own name: that has lost any credentials.
    root, _ = choose.split_uri(config.checkpoint.restore_from or "")
    foreign = open_store(root, config.checkpoint.storage_options)
    try:
        return _read(foreign, call)
    finally:
        foreign.close()


def _read(store: Store, call: LoadParts) -> dict[int, PartData]:
    parts = {span: read_span(store, call.source.parts[span], span) for span in call.spans}
    for part in parts.values():
        if call.source.cut >= 0:
            part.applied.remove(call.source.cut)
            part.skipped.discard(call.source.cut)
    return parts


def _cut(config: JobConfig, index: Index) -> int:
    """The last range of a job of other length, if it has other batches there than here; -1: none."""
    here = settings_of(config).plan(index.samples)
    same = (here.batch_size, here.local_steps, here.seed) == (index.batch_size, index.local_steps, index.seed)
    if not same or not index.steps_total or index.steps_total == here.steps:
        return -1
    there = replace(here, steps=index.steps_total)
    last = there.count - 1
    return last if there.steps_of(last) != here.steps_of(last) else -1


def _created(index: Index) -> float | None:
    try:
        return datetime.fromisoformat(index.created).timestamp()
    except ValueError:
        return None


def _found(config: JobConfig, index: Index) -> Found:
    parts = {part.span: part.ref for part in index.parts}
    return Found(
        Source(index.term, index.step, parts, cut=_cut(config, index)),
        index.space,
        index.samples,
        index.fixed.ref if index.fixed else None,
        index.moments.ref if index.moments else None,
        index.aliases,
        False,
        index.loss_scale,
        created=_created(index),
    )
