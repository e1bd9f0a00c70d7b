"""Where there is no terminal: plain lines and JSON lines, events once each."""

import json
from dataclasses import replace

from builders import snapshots
from deepseek_operator.view.lines import event_json, event_line, fresh, progress_json, progress_line


def test_a_line_of_a_running_job() -> None:
    assert progress_line(snapshots.snapshot()) == (
        "2023-11-14T22:13:20Z step 1200/5000 24.0% loss 1.83 8123 samples/s wire 3.10 MB (93.6x fewer than dense) "
        "workers 3/3 servers 2/2 ckpt 1000 eta 0:15"
    )


def test_other_phases_are_named_and_explained() -> None:
    assert progress_line(snapshots.starting()) == (
        "2023-11-14T22:13:20Z Starting step 0/5000 0.0% workers 0/3 servers 0/2: "
        "the first term begins when all servers have registered"
    )
    line = progress_line(replace(snapshots.draining(), notice="stopping"))
    assert line.startswith("2023-11-14T22:13:20Z Draining step 1200/5000 24.0%")
    assert line.endswith(": stopping")
    assert "eta" not in line


def test_a_lost_supervisor_is_a_phase_of_its_own() -> None:
    gone = replace(snapshots.snapshot(), attended=False)
    assert progress_line(gone).startswith("2023-11-14T22:13:20Z Interrupted ")
    assert progress_line(replace(gone, members_live=True)).startswith("2023-11-14T22:13:20Z Orphaned ")


def test_an_event() -> None:
    assert event_line(snapshots.event(2, "TermRaised", "term 1")) == "2023-11-14T22:12:50Z event TermRaised  term 1"
    odd = snapshots.event(2, "MemberLost", "a\r\nb\x1b[2J", type="Warning", count=3)
    assert event_line(odd) == "2023-11-14T22:12:50Z warning MemberLost  a  b [2J (x3)"


def test_each_event_is_new_once_and_again_when_it_happens_again() -> None:
    first, second = snapshots.event(1, "Created", "a"), snapshots.event(2, "MemberLost", "b")
    assert fresh((), (first, second)) == [first, second]
    assert fresh((first,), (first, second)) == [second]
    assert fresh((first, second), (first, second)) == []
    again = snapshots.event(5, "MemberLost", "b", count=2)
    assert fresh((first, second), (first, again)) == [again]
    assert fresh((first, second), (second,)) == [], "the oldest leave the list"


def test_json_says_the_same() -> None:
    shot = snapshots.snapshot()
    said = json.loads(json.dumps(progress_json(shot)))
    assert (said["type"], said["time"], said["phase"]) == ("progress", "2023-11-14T22:13:20Z", "Running")
    assert (said["step"], said["steps"], said["etaSeconds"]) == (1200, 5000, 15.0)
    assert said["timesFewerThanDense"] == {"whole": 93.603, "localSteps": 8.0, "compression": 11.7}
    assert said["progress"]["wire_bytes"] == 3_100_000
    assert json.loads(json.dumps(progress_json(snapshots.starting())))["progress"] is None
    event = json.loads(json.dumps(event_json(shot, shot.status.events[0])))
    assert (event["type"], event["event"]["reason"]) == ("event", "Created")
