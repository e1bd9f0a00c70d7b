"""index.json, which makes a checkpoint of its parts, base.json, and the names of everything in a store.

t<term>/base.json                       what the term begins from
t<term>/step-<N>/span-<k>.safetensors   one part a span (spans.py)
t<term>/step-<N>/moments.safetensors    one worker's optimizer moments
t<term>/step-<N>/index.json             written last, once: without it there is no checkpoint
fixed-<hash>.safetensors                what is not trained; belongs to the whole job
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepseek_runtime.checkpoint.read import verify_part
from deepseek_runtime.checkpoint.store import Store, StoreError, checked
from deepseek_runtime.contract.version import CHECKPOINT_VERSION
from deepseek_runtime.protocol.files import FileRef
from deepseek_runtime.protocol.lineage import Base, Step
from deepseek_runtime.space import Space, SpaceError

Count = Annotated[int, Field(ge=0)]

_INDEX: Final = re.compile(r"t(\d+)/step-(\d+)/index\.json")
_IN_STEP: Final = re.compile(r"t(\d+)/step-(\d+)/.+")
_BASE: Final = re.compile(r"t(\d+)/base\.json")
_SEAL: Final = "sha256"


class Record(BaseModel):
    """Frozen; unknown fields of a newer version are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


class StoredFile(Record):
    """A file, and how to know that it is what was written. path: from the store's root."""

    path: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Count

    @property
    def ref(self) -> FileRef:
        return FileRef(self.path, self.sha256, self.size)

    @classmethod
    def of(cls, ref: FileRef) -> "StoredFile":
        return cls(path=ref.path, sha256=ref.sha256, size=ref.size)


class PartRef(StoredFile):
    span: Count


class Index(Record):
    """A checkpoint: what it is of, and the files that hold it."""

    version: Literal[1] = 1
    job: str = ""
    term: Count
    step: Count
    parent: Step | None = None
    """The checkpoint before it on its lineage: for people; what to restore is decided by the bases."""
    created: str = ""
    """RFC 3339, UTC."""
    space: dict[str, Any]
    """Space.to_json()."""
    aliases: dict[str, str] = {}
    """Tied tensors: further name -> the name under which it is stored."""
    parts: tuple[PartRef, ...]
    """One a span, in order."""
    fixed: StoredFile | None = None
    moments: StoredFile | None = None
    loss_scale: float | None = None
    """The lowest of all workers."""
    samples: Count
    batch_size: Count = 0
    local_steps: Count = 0
    seed: Count = 0
    steps_total: Count = 0

    @property
    def name(self) -> Step:
        return Step(self.term, self.step)

    @property
    def files(self) -> list[FileRef]:
        """All that must be whole, parts first."""
        return [file.ref for file in (*self.parts, self.fixed, self.moments) if file is not None]


def step_folder(term: int, step: int) -> str:
    return f"t{term}/step-{step}"


def part_path(term: int, step: int, span: int) -> str:
    return f"{step_folder(term, step)}/span-{span}.safetensors"


def moments_path(term: int, step: int) -> str:
    return f"{step_folder(term, step)}/moments.safetensors"


def index_path(term: int, step: int) -> str:
    return f"{step_folder(term, step)}/index.json"


def base_path(term: int) -> str:
    return f"t{term}/base.json"


def fixed_path(digest: str) -> str:
    return f"fixed-{digest}.safetensors"


def index_name(path: str) -> Step | None:
    """The checkpoint whose index stands at this path; None: no index's path."""
    match = _INDEX.fullmatch(path)
    return Step(int(match[1]), int(match[2])) if match else None


def encode_index(index: Index) -> bytes:
    """JSON with sorted keys, sealed by the SHA-256 of the same document without the seal."""
    return _seal(index.model_dump(mode="json"))


def decode_index(data: bytes, where: str) -> Index:
    """Raises StoreError(damaged) with `where` in its message."""
    try:
        index = Index.model_validate(_unseal(data, where))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if field == "version":
            raise StoreError(
                "failed", f"{where} is of another version than {CHECKPOINT_VERSION}: use the runtime that wrote it"
            ) from error
        raise StoreError("damaged", f"{where} is damaged: {field}: {first['msg']}") from error
    try:
        spans = len(Space.from_json(index.space).spans)
    except SpaceError as error:
        raise StoreError("damaged", f"{where} is damaged: {error}") from error
    if [part.span for part in index.parts] != list(range(spans)):
        raise StoreError("damaged", f"{where} is damaged: it must name one part for each of its {spans} spans")
    for file in index.files:
        checked(file.path)
    return index


def write_index(store: Store, index: Index) -> Index:
    """Checkpoints 2: one PUT, last, once. Returns the index that stands there, which may be one written before."""
    path = index_path(index.term, index.step)
    if store.create(path, encode_index(index)):
        return index
    return read_index(store, index.term, index.step)


def read_index(store: Store, term: int, step: int) -> Index:
    """Raises StoreError: missing, damaged (also when it is another checkpoint's) ..."""
    path = index_path(term, step)
    where = f"{store.uri}/{path}"
    index = decode_index(store.get(path), where)
    if index.name != (term, step):
        raise StoreError("damaged", f"{where} is damaged: it is of step {index.step} of term {index.term}")
    return index


def verify(store: Store, index: Index) -> None:
    """Reads every file of a checkpoint through. Raises StoreError for the first that is missing or damaged."""
    for ref in index.files:
        verify_part(store, ref)


def write_base(store: Store, term: int, base: Base) -> None:
    """Checkpoints 3: once a term, before anything opens. Raises StoreError(conflict) when another stands there."""
    document = {
        "version": CHECKPOINT_VERSION,
        "term": term,
        "restored": None if base.restored is None else list(base.restored),
        "continues": base.continues,
    }
    if store.create(base_path(term), _seal(document)):
        return
    if (found := read_base(store, term)) != base:
        raise StoreError(
            "conflict", f"{store.uri}/{base_path(term)} says that term {term} {found}; it cannot become: {base}"
        )


def read_base(store: Store, term: int) -> Base | None:
    """None: the term has none (yet). Raises StoreError."""
    where = f"{store.uri}/{base_path(term)}"
    try:
        document = _unseal(store.get(base_path(term)), where)
    except StoreError as error:
        if error.kind == "missing":
            return None
        raise
    match document:
        case {"term": int(number), "restored": [int(of), int(step)], "continues": None} if number == term:
            return Base(restored=Step(of, step))
        case {"term": int(number), "restored": None, "continues": int(older)} if number == term:
            return Base(continues=older)
    raise StoreError("damaged", f"{where} is damaged: it does not say what term {term} begins from")


class Survey(NamedTuple):
    """What a store holds."""

    bases: dict[int, Base]
    indexes: dict[int, set[int]]
    """For each term the steps that have an index, whole or not."""
    folders: set[Step]
    """Every step folder with anything in it, finished or not."""


def survey(store: Store) -> Survey:
    """One listing, and the bases. Raises StoreError: a base that cannot be read hides the lineage."""
    paths = store.list(unfinished=True)
    bases = {}
    for path in paths:
        if (match := _BASE.fullmatch(path)) and (base := read_base(store, int(match[1]))) is not None:
            bases[int(match[1])] = base
    indexes: dict[int, set[int]] = {}
    for path in paths:
        if (name := index_name(path)) is not None:
            indexes.setdefault(name.term, set()).add(name.step)
    folders = {Step(int(match[1]), int(match[2])) for match in map(_IN_STEP.fullmatch, paths) if match}
    return Survey(bases, indexes, folders)


def _seal(document: Mapping[str, Any]) -> bytes:
    sealed = {**document, _SEAL: _digest(document)}
    return (json.dumps(sealed, indent=1, sort_keys=True) + "\n").encode()


def _unseal(data: bytes, where: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreError("damaged", f"{where} is damaged: it is cut short or no JSON") from error
    if not isinstance(document, dict) or document.pop(_SEAL, None) != _digest(document):
        raise StoreError("damaged", f"{where} is damaged: its content is not what was written")
    return document


def _digest(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
