"""A link without sockets: lanes, credits, numbers, restart."""

import pytest

from deepseek_runtime.transport import wire
from deepseek_runtime.transport.chunks import Memory
from deepseek_runtime.transport.link import Link, LinkBroken, Part
from deepseek_runtime.transport.wire import Frame, Kind, Limits, Message, Terms, WireError

CHUNK, WINDOW, EXPRESS, QUEUE = 1000, 4, 8, 16
TERMS = Terms(CHUNK, WINDOW, EXPRESS)
LIMITS = Limits(message=1 << 20)


def pair() -> tuple[Link, Link]:
    links = Link(TERMS, LIMITS, QUEUE, Memory(0)), Link(TERMS, LIMITS, QUEUE, Memory(0))
    for link in links:
        link.open(7, TERMS)
    return links


def offer(link: Link, size: int, name: str = "x") -> bool:
    return link.offer(wire.encode(Message(name, {}, (bytes(size),)), LIMITS))


def read(parts: list[Part]) -> Frame:
    return wire.unpack([memoryview(part) for part in parts])


def send_all(link: Link) -> list[Frame]:
    frames = []
    while (parts := link.next()) is not None:
        frames.append(read(parts))
        link.sent()
    return frames


def flow(sender: Link, receiver: Link) -> list[str]:
    """Until nothing moves: the kinds that arrived."""
    arrived = []
    while frames := send_all(sender):
        for frame in frames:
            if (message := receiver.take(frame)) is not None:
                arrived.append(message.kind)
            if (credit := receiver.renewal()) is not None:
                sender.credit(read([credit]))
    return arrived


def test_a_sender_stops_at_the_window_and_goes_on_with_credit() -> None:
    sender, receiver = pair()
    offer(sender, 10 * CHUNK)
    frames = send_all(sender)
    assert len(frames) == WINDOW
    assert [receiver.take(frame) for frame in frames] == [None] * WINDOW
    credit = receiver.renewal()
    assert credit is not None
    sender.credit(read([credit]))
    assert flow(sender, receiver) == ["x"]
    assert not sender.waiting


def test_short_messages_pass_between_the_chunks_of_long_ones() -> None:
    sender, receiver = pair()
    offer(sender, 10 * CHUNK, "long")
    for frame in send_all(sender):
        receiver.take(frame)
    offer(sender, 10, "short")
    assert flow(sender, receiver) == ["short", "long"]


def test_order_is_kept_within_a_lane() -> None:
    sender, receiver = pair()
    for index in range(5):
        offer(sender, 3 * CHUNK, f"long {index}")
        offer(sender, 10, f"short {index}")
    arrived = flow(sender, receiver)
    assert [kind for kind in arrived if kind.startswith("long")] == [f"long {index}" for index in range(5)]
    assert [kind for kind in arrived if kind.startswith("short")] == [f"short {index}" for index in range(5)]


def test_queues_are_bounded() -> None:
    sender, _ = pair()
    assert [offer(sender, 10) for _ in range(QUEUE + 1)] == [True] * QUEUE + [False]
    assert [offer(sender, 2 * CHUNK) for _ in range(QUEUE + 1)] == [True] * QUEUE + [False]


def test_a_queue_is_bounded_in_bytes_but_takes_one_message() -> None:
    sender, _ = pair()
    assert offer(sender, 900_000)
    assert not offer(sender, 900_000)


def test_a_half_sent_message_begins_again_on_the_next_connection() -> None:
    sender, receiver = pair()
    offer(sender, 10 * CHUNK, "half")
    offer(sender, 2 * CHUNK, "next")
    for frame in send_all(sender):
        receiver.take(frame)
    for link in (sender, receiver):
        link.open(8, TERMS)
    assert flow(sender, receiver) == ["half", "next"]


def test_nothing_is_sent_while_no_connection_is_open() -> None:
    sender, _ = pair()
    sender.shut()
    assert offer(sender, 10)
    assert sender.next() is None
    assert sender.waiting


def test_a_missing_frame_breaks_the_link() -> None:
    sender, receiver = pair()
    offer(sender, 3 * CHUNK)
    frames = send_all(sender)
    receiver.take(frames[0])
    with pytest.raises(LinkBroken):
        receiver.take(frames[2])


def test_a_repeated_frame_breaks_the_link() -> None:
    sender, receiver = pair()
    offer(sender, 10)
    [frame] = send_all(sender)
    receiver.take(frame)
    with pytest.raises(LinkBroken):
        receiver.take(frame)


def test_more_frames_than_were_asked_for_break_the_link() -> None:
    sender, receiver = pair()
    sender.open(7, Terms(CHUNK, WINDOW + 1, EXPRESS))
    offer(sender, 10 * CHUNK)
    *frames, last = send_all(sender)
    for frame in frames:
        receiver.take(frame)
    with pytest.raises(LinkBroken):
        receiver.take(last)


def test_credit_beyond_the_window_breaks_the_link() -> None:
    sender, _ = pair()
    with pytest.raises(LinkBroken):
        sender.credit(Frame(Kind.CREDIT, 7, chunks=WINDOW + 1))


def test_a_message_that_cannot_be_read_is_lost_alone() -> None:
    sender, receiver = pair()
    offer(sender, 3 * CHUNK, "bad")
    offer(sender, 3 * CHUNK, "good")
    first, *rest = send_all(sender)
    bad = Frame(Kind.DATA, 7, sequence=0, flags=first.flags, parts=(memoryview(b"\xc1"), *first.parts[1:]))
    with pytest.raises(WireError) as caught:
        receiver.take(bad)
    assert not isinstance(caught.value, LinkBroken)
    for frame in rest:
        assert receiver.take(frame) is None
    credit = receiver.renewal()
    assert credit is not None
    sender.credit(read([credit]))
    assert flow(sender, receiver) == ["good"]
