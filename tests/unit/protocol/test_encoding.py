"""Every message survives the wire, and nothing that is not a message does."""

from typing import Any

import msgpack
import numpy as np
import pytest

from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import ServerSeat, TermRecord
from deepseek_runtime.protocol import encoding, files, messages, neighbours, server_orders
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.transport.wire import Message as WireMessage

LEASE = messages.Lease(2, 7, 41, 40, 0.5)
FILE = files.FileRef("t1/step-0/span-0.safetensors", "ab", 12)
STATE = server_orders.SpanState(1, 2, AppliedSet.of([0, 1, 5]), frozenset({1}))
RECORD = TermRecord(number=3, servers=(ServerSeat(index=0, incarnation=1, address="tcp://127.0.0.1:1"),))
CHANGE = neighbours.PushChange(Member("worker", 1, 2), 12, 0.5, {0: b"abc", 3: b""}, {0: 0.5}, {0: 1.0}, None)
EXAMPLES: list[messages.Message] = [
    messages.Hello(1, 0, 10, "ff", LEASE),
    messages.Beat(1, True, 4),
    messages.Report(1, "k", "evaluated", {"step": 3, "metrics": {"accuracy": 0.5}}),
    messages.Welcome(1, 1, {"segments": []}, 10, None, FILE, None, 5),
    messages.Grant(1, LEASE),
    messages.Ask(1, "k", "flush"),
    messages.Acknowledged(1, "k"),
    messages.Unknown(1),
    messages.NewTerm(RECORD),
    messages.Push(
        1, 1, 2, LEASE, 0.5, 64, {0: b"abc", 3: b""}, {0: 0.5}, {0: 1}, np.array([1, 2], np.int64), {"loss": 1.5}
    ),
    messages.Answers(1, 1, 2, {0: "applied", 3: "stale"}),
    messages.Pull(1, 1, 5, {0: messages.Version(1, 2), 1: None}),
    messages.Published(1, 1, 5, {0: messages.Update(messages.Version(1, 3), (b"x", b"yy"), None)}),
    messages.InitialPart(1, 1, {0: np.arange(3, dtype=np.float32)}),
    messages.InitialTaken(1, 1),
    server_orders.Joined(1),
    server_orders.Order(1, 1, server_orders.Place(1, {}, (0, 2), files.Source(1, 5, {0: FILE}), 10)),
    server_orders.Order(1, 2, server_orders.EndLease(3, 4)),
    server_orders.Done(1, 1, {0: STATE}, (1, 2), {0: FILE}),
    server_orders.AppliedReport(1, 9, ((4, (0, 1)),), ({"g": 4},), 100, {"": 0.0}, 1.0),
    server_orders.ReportTaken(1, 9),
    neighbours.Forward(2, 1, {0: 7, 3: 9}, 41, CHANGE),
    neighbours.Forward(2, 1, {0: 8}, 42, None),
    neighbours.Confirmed(2, {0: 7, 3: 8}),
    neighbours.Fetch(2, 3),
    neighbours.HandOver(
        *(2, 3, 1, np.arange(3, dtype=np.float32), AppliedSet.of([0, 4]), frozenset({4}), 5, 9, 0.5, {"": 1.0}, 2.0),
        {1: neighbours.LastAnswer(0, 12, "applied")},
        np.array([3], np.int64),
        {"momentum": np.arange(2, dtype=np.float32)},
        {"turn": 0.5},
    ),
]


def over_the_wire(message: messages.Message) -> messages.Message:
    sent = encoding.encode(message)
    fields = msgpack.unpackb(msgpack.packb(sent.fields), strict_map_key=False)
    return encoding.decode(WireMessage(sent.kind, fields, tuple(memoryview(bytes(b)) for b in sent.buffers)))


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_a_message_survives(message: messages.Message) -> None:
    again = over_the_wire(message)
    assert type(again) is type(message)
    assert encoding.encode(again).fields == encoding.encode(message).fields
    sent, got = (b"|".join(bytes(b) for b in encoding.encode(m).buffers) for m in (message, again))
    assert sent == got


def test_every_kind_has_an_example() -> None:
    assert {type(example).__name__ for example in EXAMPLES} == set(encoding._KINDS)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_what_is_no_message_is_refused(message: messages.Message) -> None:
    sent = encoding.encode(message)
    values = sent.fields["v"]
    for place in range(len(values)):
        wrong: Any
        for wrong in ({"a": {}}, [[[]]], -1.5, b"?", "no", 2**70, None):
            broken = [*values[:place], wrong, *values[place + 1 :]]
            try:
                encoding.decode(WireMessage(sent.kind, {"v": broken}, ()))
            except encoding.BadMessage:
                continue
    with pytest.raises(encoding.BadMessage):
        encoding.decode(WireMessage(sent.kind, {"v": values[:-1]}, ()))
    with pytest.raises(encoding.BadMessage):
        encoding.decode(WireMessage("Nonsense", sent.fields, ()))
