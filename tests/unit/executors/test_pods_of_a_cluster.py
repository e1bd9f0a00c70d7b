"""Pods as a real kubelet (1.34, containerd) left them, for what the table in test_sight.py might have wrong."""

import json
from pathlib import Path

import pytest

from deepseek_operator.executors.sight import member_of, sight
from deepseek_operator.reconcile.observe import MemberSeen

PODS = json.loads((Path(__file__).parent / "pods_of_a_cluster.json").read_text())


def look(name: str) -> MemberSeen:
    member = member_of(PODS[name])
    assert member is not None
    return sight(PODS[name], member, now=2e9)


@pytest.mark.parametrize(
    "name,reason",
    [
        ("noimage", "ImageCannotBePulled"),
        ("badname", "ImageCannotBePulled"),
        ("huge", "Unschedulable"),
        ("nokeys", "VolumeCannotBeMounted"),
        ("nosecret", "ContainerCannotBeMade"),
    ],
)
def test_what_could_not_start(name: str, reason: str) -> None:
    seen = look(name)
    assert (seen.phase, seen.waiting and seen.waiting.reason) == ("starting", reason)


@pytest.mark.parametrize(
    "name,code,reason",
    [
        ("record", 65, "UserCodeRaised"),
        ("logs", 3, "Exited"),
        ("oom", 137, "OOMKilled"),
        ("full", 137, "Evicted"),
        ("nopython", 128, "StartError"),
    ],
)
def test_what_ended(name: str, code: int, reason: str) -> None:
    seen = look(name)
    assert seen.phase == "gone"
    assert seen.exit is not None
    assert (seen.exit.code, seen.exit.reason, seen.disrupted) == (code, reason, "")
    assert seen.exit.message
