"""Which part of a span is compressed how: runs cut by kind, and by the rules that name tensors.

A piece is what one header stands before. Without rules a run is one piece; a rule cuts it where its tensors begin and
end, and a method that needs matrices cuts it at every tensor. Both sides cut alike, for both have the job's config.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from typing import Final, Literal, Protocol

from deepseek_runtime.compression.form import ValueBits
from deepseek_runtime.space import Kind, Run, Space

MethodName = Literal["none", "topk", "quantised", "lowrank", "dgc"]


class Method(Protocol):
    """How a piece is compressed: contract.config's CompressionRule, and the settings themselves."""

    @property
    def method(self) -> MethodName: ...

    @property
    def ratio(self) -> float: ...

    @property
    def value_bits(self) -> ValueBits: ...

    @property
    def rank(self) -> int: ...


class Rule(Method, Protocol):
    @property
    def match(self) -> str:
        """A pattern over tensors' names, `*` for anything: the first rule that matches counts."""
        ...


class Settings(Method, Protocol):
    """What contract.config.Compression says."""

    @property
    def rules(self) -> Sequence[Rule]: ...


@dataclass(frozen=True, slots=True)
class Chosen:
    method: MethodName
    ratio: float = 1.0
    value_bits: ValueBits = 32
    rank: int = 1


EXACT: Final = Chosen("none")
HALF: Final = Chosen("quantised", value_bits=16)
"""bfloat16: what small tensors are worth."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor lies, relative to the span's start (it may begin before it), as a matrix of so many columns."""

    name: str
    start: int
    stop: int
    columns: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Elements start to stop of the span. columns: of the matrix whose part it is, 0: of none; first: where in that
    matrix the piece begins."""

    start: int
    stop: int
    method: Chosen
    columns: int = 0
    first: int = 0

    @property
    def size(self) -> int:
        return self.stop - self.start


def tensors_of(space: Space, index: int) -> tuple[Tensor, ...]:
    """The tensors that a span holds a part of. A tensor's matrix has the first of its dimensions as rows."""
    span = space.spans[index]
    return tuple(
        Tensor(one.name, one.offset - span.start, one.stop - span.start, prod(one.shape[1:]) if one.shape else 1)
        for one in space.segments
        if one.size and one.offset < span.stop and one.stop > span.start
    )


def pieces_of(runs: Sequence[Run], settings: Settings, tensors: Sequence[Tensor] = ()) -> tuple[Piece, ...]:
    """Without `tensors` rules cannot match, and low rank has no matrices: such pieces go as bfloat16."""
    return tuple(piece for run in runs for piece in _cut(run, settings, tensors))


def _cut(run: Run, settings: Settings, tensors: Sequence[Tensor]) -> Iterator[Piece]:
    usual = _usual(run.kind, settings)
    if run.kind == "buffers" or not (settings.rules or usual.method == "lowrank"):
        yield Piece(run.start, run.stop, usual)
        return
    open_piece: Piece | None = None
    for tensor in tensors:
        start, stop = max(tensor.start, run.start), min(tensor.stop, run.stop)
        if start >= stop:
            continue
        method = next((_chosen(rule) for rule in settings.rules if fnmatchcase(tensor.name, rule.match)), usual)
        if method.method == "lowrank":
            piece = Piece(start, stop, method, tensor.columns, start - tensor.start)
        elif open_piece is not None and open_piece.method == method and open_piece.stop == start:
            open_piece = Piece(open_piece.start, stop, method)
            continue
        else:
            piece = Piece(start, stop, method)
        if open_piece is not None:
            yield open_piece
        open_piece = piece
    yield open_piece if open_piece is not None else Piece(run.start, run.stop, HALF)


def _usual(kind: Kind, settings: Settings) -> Chosen:
    if kind == "buffers" or settings.method == "none":
        return EXACT
    return HALF if kind == "small" else _chosen(settings)


def _chosen(method: Method) -> Chosen:
    return Chosen(method.method, method.ratio, method.value_bits, method.rank)
