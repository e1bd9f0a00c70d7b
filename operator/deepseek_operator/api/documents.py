"""YAML documents with the place of every value, so that a message can name the line.

Scalars read as the API server reads them (YAML 1.1 booleans; `1e-3` is a number) without the traps of YAML 1.1:
no dates, no numbers to base 60, no octal by a leading zero. What JSON cannot hold (NaN, keys that are no text,
anchors that contain themselves) is a problem, and so is a key that is given twice.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from deepseek_operator.api.problems import ManifestError, Path, Problem, shown, spell

MAX_BYTES = 4 * 1024 * 1024
"""Of a manifest file: a ConfigMap ends at 1 MiB, so more is the wrong file."""
MAX_NODES = 200_000
"""Values of a file once aliases are written out: stops a file of ten lines that unfolds to billions."""

_PREFIX = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0o[0-7_]+)")
_FLOAT = re.compile(
    r"[-+]?(?:(?:0|[1-9][0-9_]*)(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_LONG = 24
_SURROGATE = re.compile("[\ud800-\udfff]")
_HINTS = (
    ("found character '\\t'", "indent with spaces: YAML forbids tabs"),
    ("mapping values are not allowed", "keys of one mapping equally far in, and quotes around a value that holds ': '"),
    ("could not find expected ':'", "a colon and a space after each key"),
    ("expected <block end>", "the same indentation for keys of one mapping"),
    ("found undefined alias", "an anchor (&name) before its alias (*name)"),
    ("found unexpected end of stream", "a closing quote or bracket"),
    ("while parsing a flow", "a closing bracket, and commas between the items"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands; both count from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """One document as plain data, and where each of its keys and items stands."""

    value: object
    file: str
    places: dict[Path, Place] = field(default_factory=dict)

    def place(self, path: Path) -> Place:
        """Where `path` stands, or else the nearest mapping around it."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))

    def locate(self, path: Path, problem: Problem) -> Problem:
        place = self.place(path)
        return problem.at(self.file, place.line, place.column)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 -- types-PyYAML declares it as an instance's
        first: [(tag, regexp) for tag, regexp in resolvers if tag.removeprefix(_PREFIX) in ("bool", "null", "merge")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(_PREFIX + "int", re.compile(f"^(?:{_INT.pattern})$"), list("-+0123456789"))
_Loader.add_implicit_resolver(_PREFIX + "float", re.compile(f"^(?:{_FLOAT.pattern})$"), list("-+0123456789."))


def read_documents(text: str, file: str) -> tuple[list[Document], list[Problem]]:
    """All documents of a file that are not empty, and the problems that still let the rest be read.

    Raises ManifestError when the text is not YAML at all.
    """
    try:
        nodes = list(yaml.compose_all(text, Loader=_Loader))
        builder = _Builder(file)
        documents = [builder.document(node) for node in nodes if node is not None]
    except yaml.YAMLError as error:
        raise ManifestError([_unreadable(error, file)]) from error
    except RecursionError as error:
        raise ManifestError([Problem("yaml", "", "is nested too deeply", file=file, line=1)]) from error
    return [document for document in documents if document.value is not None], builder.problems


def _unreadable(error: yaml.YAMLError, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = " ".join(str(part) for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part)
    if isinstance(error, yaml.reader.ReaderError):
        what = f"the character {error.character!r} at position {error.position} is not allowed"
    right = next((hint for sign, hint in _HINTS if sign in what), "")
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    return Problem("yaml", "", f"cannot be read as YAML, column {column}: {what}", right, None, "", file, line, column)


class _Builder:
    """Turns nodes into plain data and keeps their places."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.left = MAX_NODES
        self.open: set[int] = set()

    def document(self, node: yaml.Node) -> Document:
        document = Document(None, self.file)
        document.places[()] = _place(node)
        document.value = self._value(node, (), document)
        return document

    def _value(self, node: yaml.Node, path: Path, document: Document) -> object:
        self.left -= 1
        if self.left < 0:
            message = f"holds more than {MAX_NODES} values once its aliases are written out"
            raise ManifestError([self._problem(node, (), message, "a manifest of ordinary size")])
        if id(node) in self.open:
            raise ManifestError([self._problem(node, path, "is an anchor that contains itself", "a plain value")])
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                for index, item in enumerate(node.value):
                    document.places[(*path, index)] = _place(item)
                return [self._value(item, (*path, index), document) for index, item in enumerate(node.value)]
            return self._mapping(node, path, document)
        finally:
            self.open.discard(id(node))

    def _mapping(self, node: yaml.Node, path: Path, document: Document) -> dict[str, object]:
        result: dict[str, object] = {}
        for merged in self._merged(node):
            for key, value in self._mapping(merged, path, document).items():
                result.setdefault(key, value)
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _PREFIX + "merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _PREFIX + "str":
                name = key_node.value if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
                self.problems.append(
                    self._problem(key_node, path, f"the key {name} is not text", "put it in quotes", "type")
                )
                continue
            key = self._text(key_node, path)
            here = (*path, key)
            if key in seen:
                message = f"is given twice; the first stands in line {seen[key]}"
                self.problems.append(self._problem(key_node, here, message, "keep one of the two", "duplicate"))
            seen.setdefault(key, key_node.start_mark.line + 1)
            document.places[here] = _place(key_node)
            result[key] = self._value(value_node, here, document)
        return result

    def _merged(self, node: yaml.Node) -> Iterator[yaml.MappingNode]:
        for key_node, value_node in node.value:
            if key_node.tag != _PREFIX + "merge":
                continue
            for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                if not isinstance(source, yaml.MappingNode) or id(source) in self.open:
                    raise ManifestError([self._problem(key_node, (), "'<<' does not merge a mapping", "<<: *anchor")])
                yield source

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        tag, text = node.tag.removeprefix(_PREFIX), self._text(node, path)
        match tag:
            case "str":
                return text
            case "null":
                return None
            case "bool" if text.lower() in yaml.SafeLoader.bool_values:
                return yaml.SafeLoader.bool_values[text.lower()]
            case "int" if _INT.fullmatch(text):
                return self._whole(node, text.replace("_", ""), path)
            case "float" if _FLOAT.fullmatch(text):
                number = float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
                if not math.isfinite(number):
                    self.problems.append(
                        self._problem(node, path, f"{_number(text)} is not a finite number", "a finite number", "range")
                    )
                    return 0.0
                return number
            case _:
                self.problems.append(
                    self._problem(node, path, f"{shown(text)} does not fit its tag {node.tag}", "no tag", "type")
                )
                return text

    def _text(self, node: yaml.ScalarNode, path: Path) -> str:
        """With surrogates in pairs as JSON writes them joined; half a pair is no character, and no file can hold it."""
        text = str(node.value)
        half = _SURROGATE.search(text)
        if half is None:
            return text
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        half = _SURROGATE.search(text)
        if half is not None:
            message = f"holds \\u{ord(half[0]):04x}, which is no character by itself"
            self.problems.append(self._problem(node, path, message, "the character itself, or both halves", "type"))
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)

    def _whole(self, node: yaml.ScalarNode, text: str, path: Path) -> int:
        sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.lstrip("+"))
        base = {"0x": 16, "0o": 8}.get(digits[:2], 10)
        number = sign * int(digits[2:] if base != 10 else digits, base) if len(digits) < 40 else sign * 10**40
        if not -(2**63) <= number < 2**63:
            message = f"{_number(text)} does not fit 64 bits"
            right = "a smaller number, or quotes around it"
            self.problems.append(self._problem(node, path, message, right, "range"))
            return 0
        return number

    def _problem(self, node: yaml.Node, path: Path, message: str, right: str, kind: str = "yaml") -> Problem:
        place = _place(node)
        return Problem(kind, spell(path), message, right, None, "", self.file, place.line, place.column)  # type: ignore[arg-type]


def _number(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:12]}... ({len(text)} characters)"


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)
