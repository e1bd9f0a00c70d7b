"""Protocol messages to transport messages and back, directed by the types of messages.py.

Arrays and payloads become raw buffers, everything else fields. Reading is strict: whatever does not have the
declared type raises BadMessage, with nothing else done, because bytes may come from a hostile peer.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import BaseModel, ValidationError

from deepseek_runtime.protocol import messages, server_orders
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.transport.wire import Message as WireMessage


class BadMessage(ValueError):
    """A well-formed frame whose content is not a message of the protocol."""


Encode = Callable[[Any, list[Any]], Any]
Decode = Callable[[Any, list[memoryview]], Any]


@dataclasses.dataclass(frozen=True, slots=True)
class _Coder:
    encode: Encode
    decode: Decode


def encode(message: messages.Message) -> WireMessage:
    buffers: list[Any] = []
    fields = _coder(typing.cast(Any, type(message))).encode(message, buffers)
    return WireMessage(type(message).__name__, fields, tuple(buffers))


def decode(message: WireMessage) -> messages.Message:
    """Raises BadMessage."""
    kind = _KINDS.get(message.kind)
    if kind is None:
        raise BadMessage(f"no such message: {message.kind!r}")
    buffers = [memoryview(typing.cast(bytes, buffer)) for buffer in message.buffers]
    decoded = _coder(kind).decode(message.fields, buffers)
    return typing.cast(messages.Message, decoded)


_LARGEST = (1 << 63) - 1
"""What a checkpoint can hold."""
_KINDS: dict[str, type] = {kind.__name__: kind for kind in get_args(messages.Message)}
_ORDERS: dict[str, type] = {kind.__name__: kind for kind in get_args(server_orders.OrderBody)}


@cache
def _coder(kind: Any) -> _Coder:
    """The coder of a type. Raises TypeError, at import of the first message, for one that it does not know."""
    if kind is Any:
        return _Coder(lambda value, _: value, lambda value, _: value)
    if kind in (messages.F32, messages.I64):
        return _array(np.dtype(np.float32 if kind == messages.F32 else np.int64))
    if kind in (messages.Payload, typing.Union[bytes, memoryview]):  # noqa: UP007 - equal, not identical
        return _Coder(_put_buffer, _take_buffer)
    if kind == server_orders.OrderBody:
        return _Coder(_encode_order, _decode_order)
    if kind in (int, str, bool, float):
        return _plain(kind)
    if kind is AppliedSet:
        return _Coder(lambda value, _: [value.watermark, sorted(value.above)], _decode_applied)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _model(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind)
    return _generic(kind)


def _generic(kind: Any) -> _Coder:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _Coder(lambda value, _: value, _one_of(args))
    if origin in (typing.Union, types.UnionType) and type(None) in args:
        rest = tuple(arg for arg in args if arg is not type(None))
        return _optional(_coder(typing.Union[rest]))  # noqa: UP007 - built at run time
    if origin is Mapping:
        return _mapping(_coder(args[0]), _coder(args[1]))
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return _sequence(_coder(args[0]), tuple)
    if origin is tuple:
        return _fixed([_coder(arg) for arg in args])
    if origin is frozenset:
        return _sequence(_coder(args[0]), frozenset)
    raise TypeError(f"messages may not hold a {kind}")


def _plain(kind: type) -> _Coder:
    def decode(value: Any, _: list[memoryview]) -> Any:
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            raise BadMessage(f"{value!r:.80} is no {kind.__name__}")
        if isinstance(value, float) and not math.isfinite(value):
            raise BadMessage(f"{value} is no number")
        if isinstance(value, int) and value > _LARGEST:
            raise BadMessage(f"{value} is too large")
        return value

    return _Coder(lambda value, _: kind(value), decode)


def _one_of(allowed: tuple[Any, ...]) -> Decode:
    def decode(value: Any, _: list[memoryview]) -> Any:
        if value not in allowed:
            raise BadMessage(f"{value!r:.80} is none of {allowed}")
        return value

    return decode


def _put_buffer(value: Any, buffers: list[Any]) -> int:
    buffers.append(value)
    return len(buffers) - 1


def _take_buffer(value: Any, buffers: list[memoryview]) -> memoryview:
    if type(value) is not int or not 0 <= value < len(buffers):
        raise BadMessage(f"no buffer {value!r:.80}")
    return buffers[value]


def _array(dtype: np.dtype[Any]) -> _Coder:
    def encode(value: Any, buffers: list[Any]) -> int:
        return _put_buffer(np.ascontiguousarray(value, dtype).data, buffers)

    def decode(value: Any, buffers: list[memoryview]) -> Any:
        buffer = _take_buffer(value, buffers)
        if buffer.nbytes % dtype.itemsize:
            raise BadMessage(f"{buffer.nbytes} bytes are no array of {dtype}")
        return np.frombuffer(buffer, dtype)

    return _Coder(encode, decode)


def _decode_applied(value: Any, _: list[memoryview]) -> AppliedSet:
    match value:
        case [int(watermark), list(above)] if all(type(g) is int and 0 <= g <= _LARGEST for g in (watermark, *above)):
            return AppliedSet(watermark, set(above))
    raise BadMessage("not a set of ranges")


def _model(kind: type[BaseModel]) -> _Coder:
    def decode(value: Any, _: list[memoryview]) -> Any:
        try:
            return kind.model_validate(value)
        except ValidationError as error:
            raise BadMessage(f"not a {kind.__name__}: {error.errors()[0]['msg']}") from error

    return _Coder(lambda value, _: value.model_dump(mode="json"), decode)


def _dataclass(kind: type) -> _Coder:
    hints = get_type_hints(kind)
    coders = [(name, _coder(hints[name])) for name in (field.name for field in dataclasses.fields(kind))]

    def encode(value: Any, buffers: list[Any]) -> list[Any]:
        return [coder.encode(getattr(value, name), buffers) for name, coder in coders]

    def decode(value: Any, buffers: list[memoryview]) -> Any:
        if type(value) is not list or len(value) != len(coders):
            raise BadMessage(f"not a {kind.__name__}")
        parts = zip(coders, value, strict=True)
        return kind(**{name: coder.decode(item, buffers) for (name, coder), item in parts})

    def encode_top(value: Any, buffers: list[Any]) -> dict[str, Any]:
        return {"v": encode(value, buffers)}

    def decode_top(value: Any, buffers: list[memoryview]) -> Any:
        if type(value) is not dict or "v" not in value:
            raise BadMessage(f"not a {kind.__name__}")
        return decode(value["v"], buffers)

    top = kind.__name__ in _KINDS
    return _Coder(encode_top, decode_top) if top else _Coder(encode, decode)


def _encode_order(value: Any, buffers: list[Any]) -> list[Any]:
    kind: Any = type(value)
    return [kind.__name__, _coder(kind).encode(value, buffers)]


def _decode_order(value: Any, buffers: list[memoryview]) -> Any:
    match value:
        case [str(name), body] if name in _ORDERS:
            return _coder(_ORDERS[name]).decode(body, buffers)
    raise BadMessage("no such order")


def _optional(inner: _Coder) -> _Coder:
    return _Coder(
        lambda value, buffers: None if value is None else inner.encode(value, buffers),
        lambda value, buffers: None if value is None else inner.decode(value, buffers),
    )


def _mapping(key: _Coder, item: _Coder) -> _Coder:
    def encode(value: Any, buffers: list[Any]) -> dict[Any, Any]:
        return {key.encode(k, buffers): item.encode(v, buffers) for k, v in value.items()}

    def decode(value: Any, buffers: list[memoryview]) -> dict[Any, Any]:
        if type(value) is not dict:
            raise BadMessage(f"{value!r:.80} is no mapping")
        return {key.decode(k, buffers): item.decode(v, buffers) for k, v in value.items()}

    return _Coder(encode, decode)


def _sequence(item: _Coder, made: Callable[[Any], Any]) -> _Coder:
    def decode(value: Any, buffers: list[memoryview]) -> Any:
        if type(value) is not list:
            raise BadMessage(f"{value!r:.80} is no list")
        return made(item.decode(v, buffers) for v in value)

    return _Coder(lambda value, buffers: [item.encode(v, buffers) for v in value], decode)


def _fixed(items: list[_Coder]) -> _Coder:
    def encode(value: Any, buffers: list[Any]) -> list[Any]:
        return [item.encode(v, buffers) for item, v in zip(items, value, strict=True)]

    def decode(value: Any, buffers: list[memoryview]) -> tuple[Any, ...]:
        if type(value) is not list or len(value) != len(items):
            raise BadMessage(f"{value!r:.80} is no list of {len(items)}")
        return tuple(item.decode(v, buffers) for item, v in zip(items, value, strict=True))

    return _Coder(encode, decode)
