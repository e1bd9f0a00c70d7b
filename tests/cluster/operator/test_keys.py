"""The Secrets with a job's keys, deleted by hand under its members: no member is ever among strangers."""

from collections.abc import Callable
from typing import Any

import pytest

from deepseek_operator.api.stored_status import read_status

Until = Callable[..., None]


def fingerprint(place: Any) -> str:
    return read_status(place.job()).keys


def told(place: Any) -> dict[str, str]:
    items = place.cluster.get("events", "-n", place.namespace, "--field-selector=involvedObject.kind=DeepseekJob")
    return {item["reason"]: item["message"] for item in items["items"]}


@pytest.mark.parametrize("lost", [("server", "worker"), ("worker",)], ids="+".join)
def test_at_the_operators_next_start_all_members_drain_and_begin_anew(
    place: Any, until: Until, lost: tuple[str, ...]
) -> None:
    first = place.operator("one")
    job = place.submit()
    with place.puppets(job) as puppets:
        place.phase("Running")
        puppets.step = 340
        before, keys = place.pods(), fingerprint(place)
        first.kill()
        for role in lost:
            place.cluster.kubectl("delete", "secret", f"digits-{role}-keys", "-n", place.namespace)
        place.operator("one").leads()
        until(lambda: keys != fingerprint(place), "new keys")
        place.phase("Running")
        until(lambda: len(place.pods()) == len(before), "all pods")
        assert not before.keys() & place.pods().keys(), "a member with the old keys is among those with the new ones"
        status = read_status(place.job())
        assert (status.columns.step, status.term.number, status.restarts) == ("340/1000", 2, 0)
        events = told(place)
        assert "keys" in events["KeysLost"]
        assert events["Drained"] == "a checkpoint was written, of step 340"


def test_a_replacement_is_not_made_before_all_have_new_keys(place: Any, until: Until) -> None:
    """While the operator runs nobody watches Secrets: whoever makes a member looks."""
    place.operator("one", resync_seconds="600")
    job = place.submit()
    with place.puppets(job) as puppets:
        place.phase("Running")
        puppets.step = 120
        keys = fingerprint(place)
        place.cluster.kubectl("delete", "secret", "digits-server-keys", "digits-worker-keys", "-n", place.namespace)
        place.cluster.kubectl("delete", "pod", "digits-worker-1-0", "-n", place.namespace)
        until(lambda: keys != fingerprint(place), "new keys")
        place.phase("Running")
        until(lambda: len(place.pods()) == 4, "all pods")
        assert not {"digits-server-0-0", "digits-server-1-0", "digits-worker-0-0"} & place.pods().keys()
        assert read_status(place.job()).columns.step == "120/1000"


def test_secrets_that_are_put_back_as_they_were_disturb_nobody(place: Any, until: Until) -> None:
    first = place.operator("one")
    job = place.submit()
    with place.puppets(job):
        place.phase("Running")
        before, keys = place.pods(), fingerprint(place)
        first.kill()
        names = ("digits-server-keys", "digits-worker-keys")
        kept = place.cluster.get("secret", *names, "-n", place.namespace)["items"]
        place.cluster.kubectl("delete", "secret", *names, "-n", place.namespace)
        for one in kept:
            one["metadata"].pop("resourceVersion")
            one["metadata"].pop("uid")
        place.cluster.apply(*kept)
        place.operator("one").leads()
        place.cluster.kubectl("delete", "pod", "digits-worker-1-0", "-n", place.namespace)
        until(lambda: "digits-worker-1-1" in place.pods(), "a replacement")
        place.phase("Running")
        assert fingerprint(place) == keys
        assert {n: u for n, u in place.pods().items() if n in before} == {
            n: u for n, u in before.items() if n != "digits-worker-1-0"
        }
