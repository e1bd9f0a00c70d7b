"""What is large goes in messages of a few spans, each made when the one before it was taken, each counted once."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from deepseek_runtime.compression import codec_for
from deepseek_runtime.contract.config import Compression
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import ServerSeat, TermRecord
from deepseek_runtime.protocol.effects import Effect, Send
from deepseek_runtime.protocol.messages import Answers, Lease, Published, Pull, Push, Update, Version
from deepseek_runtime.protocol.pieces import pieces
from deepseek_runtime.protocol.pulling import Pulling
from deepseek_runtime.protocol.pushing import Pushing
from deepseek_runtime.space import Space, TensorSpec

SPACE = Space.build([TensorSpec("weight", (16 * 4096,), "float32")], spans=4)
CODECS = [codec_for(span.runs, Compression(method="none")) for span in SPACE.spans]
RECORD = TermRecord(
    number=1, servers=tuple(ServerSeat(index=i, incarnation=0, address=f"tcp://127.0.0.1:{i + 1}") for i in (0, 1))
)
SERVERS = Member("server", 0, 0), Member("server", 1, 0)
LEASE = Lease(1, 1, 0, 0, 0.5)


def sent(effect: Effect) -> Any:
    assert isinstance(effect, Send)
    return effect.message


def test_a_group_is_closed_when_it_has_enough() -> None:
    made: list[int] = []

    def items() -> Iterator[tuple[int, int]]:
        for number, size in enumerate((10, 10, 30, 5)):
            made.append(number)
            yield number, size

    groups = pieces(items(), 20)
    assert next(groups) == [0, 1]
    assert made == [0, 1]  # the next are not made yet
    assert list(groups) == [[2], [3]]
    assert not list(pieces([], 20))


def test_a_push_in_pieces_reaches_all_spans_of_all_servers_in_turn() -> None:
    pushing = Pushing(1.0, piece=1)
    pushing.adopt(SPACE, CODECS)
    difference = np.random.default_rng(0).standard_normal(SPACE.size, np.float32)
    pushing.begin(LEASE, difference.copy(), np.zeros_like(difference), None, 8, {"loss": 1.0})
    effects = list(pushing.send(RECORD, 1, 0.0))
    assert [effect.to for effect in effects if isinstance(effect, Send)] == [*SERVERS, *SERVERS]
    parts: dict[int, Any] = {}
    for push in map(sent, effects):
        assert isinstance(push, Push)
        assert len(push.parts) == 1
        assert bool(push.stats) == (0 in push.parts)
        parts.update(push.parts)
    for span, codec in zip(SPACE.spans, CODECS, strict=True):
        assert np.array_equal(codec.decode(parts[span.index]), difference[span.start : span.stop])
    assert pushing.take(Answers(1, 1, 1, {0: "applied", 1: "applied"}), 1) is None
    again = [index for effect in pushing.send(RECORD, 1, 1.0) for index in sent(effect).parts]
    assert sorted(again) == [2, 3]
    assert pushing.take(Answers(1, 1, 1, {2: "applied", 3: "duplicate"}), 1) is not None
    assert not pushing.begin_residual()  # what is sent as it is leaves nothing


def published(number: int, spans: dict[int, float]) -> Published:
    updates = {
        index: Update(Version(1, 1), payloads=(CODECS[index].encode_dense(np.full(CODECS[index].size, value, "f4")),))
        for index, value in spans.items()
    }
    return Published(1, 1, number, updates)


def test_each_span_of_a_pull_counts_once_and_only_what_is_missing_is_asked_again() -> None:
    pulling = Pulling(1.0)
    pulling.adopt(SPACE, CODECS)
    asked = [sent(effect) for effect in pulling.start(RECORD, 1, 0.0)]
    assert [sorted(pull.versions) for pull in asked] == [[0, 2], [1, 3]]
    number = asked[0].number
    assert not pulling.take(SERVERS[0], published(number, {0: 1.0}), 1)
    assert not pulling.take(SERVERS[0], published(number, {0: 5.0}), 1)  # the answer to a repeated question
    assert not pulling.take(SERVERS[1], published(number, {1: 1.0, 3: 1.0}), 1)
    (again,) = [sent(effect) for effect in pulling.repeat(RECORD, 1, 2.0)]
    assert isinstance(again, Pull)
    assert list(again.versions) == [2]
    assert pulling.take(SERVERS[0], published(number, {2: 1.0}), 1)
    assert not pulling.take(SERVERS[0], published(number, {2: 1.0}), 1)
    assert pulling.x.min() == pulling.x.max() == 1.0
