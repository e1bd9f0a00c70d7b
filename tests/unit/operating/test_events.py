"""Events that tell a story once, and count on."""

import threading

from builders.versioned import Versioned
from deepseek_operator.api.status import JobEvent
from deepseek_operator.events import BURST, QUEUED, About, Recorder, event_object
from deepseek_operator.kube import Forbidden

JOB = About("ns", "digits", "u1")


def event(reason: str = "MemberLost", message: str = "worker-0-0: killed") -> JobEvent:
    return JobEvent(time="2026-11-24T18:00:00.123Z", type="Warning", reason=reason, message=message)


def told(server: Versioned, *events: JobEvent, dropped: list[int] | None = None) -> None:
    drops = dropped if dropped is not None else []
    recorder = Recorder(server.api, "one", dropped=lambda: drops.append(1))
    recorder.start()
    for one in events:
        recorder.tell(JOB, one)
    recorder.stop(10.0)


def counts(server: Versioned) -> list[int]:
    return sorted(item["count"] for item in server.objects.values())


def test_equal_events_are_one_with_a_count_also_of_the_next_process() -> None:
    server = Versioned()
    told(server, event(), event(), event(message="worker-1-0: killed"))
    assert counts(server) == [1, 2]
    told(server, event())
    assert counts(server) == [1, 3]


def test_checkpoints_are_one_event_with_the_newest_message_and_take_no_place_of_others() -> None:
    server, dropped = Versioned(), list[int]()
    saved = [event("CheckpointSaved", f"step {n}") for n in range(BURST)]
    told(server, *saved, *(event(message=f"number {n}") for n in range(BURST)), dropped=dropped)
    assert not dropped
    (one,) = [item for item in server.objects.values() if item["reason"] == "CheckpointSaved"]
    assert (one["count"], one["message"]) == (BURST, f"step {BURST - 1}")
    assert len(server.objects) == 1 + BURST


def test_an_event_that_the_server_has_forgotten_begins_anew() -> None:
    server = Versioned()
    recorder = Recorder(server.api, "one")
    recorder._write(JOB, event())
    server.objects.clear()
    recorder._write(JOB, event())
    recorder._write(JOB, event())
    assert counts(server) == [2]


def test_what_cannot_be_written_is_dropped_and_the_next_is_told() -> None:
    server, dropped = Versioned(), list[int]()
    server.fail = [Forbidden("the namespace ends")]
    told(server, event(), event("Recovered", "worker 0 is back"), dropped=dropped)
    assert (len(dropped), counts(server)) == (1, [1])


def test_a_job_that_tells_without_end_is_bounded() -> None:
    server, dropped = Versioned(), list[int]()
    told(server, *(event(message=f"number {n}") for n in range(BURST + 20)), dropped=dropped)
    assert len(server.objects) in (BURST, BURST + 1)
    assert len(dropped) + len(server.objects) == BURST + 20


def test_full_queue_drops_and_waits_for_nobody() -> None:
    dropped: list[int] = []
    recorder = Recorder(Versioned().api, "one", dropped=lambda: dropped.append(1))

    def tell_all() -> None:
        for _ in range(QUEUED + 5):
            recorder.tell(JOB, event())

    teller = threading.Thread(target=tell_all)
    teller.start()
    teller.join(10.0)
    assert len(dropped) == 5


def test_event_has_what_kubectl_shows() -> None:
    made = event_object(JOB, event(message="x" * 3000), "one")
    assert made["involvedObject"]["uid"] == "u1"
    assert (made["firstTimestamp"], made["source"]["component"]) == ("2026-11-24T18:00:00Z", "deepseek-operator")
    assert len(made["message"]) == 1024
