"""A status says that jobs are not kept apart in etcd, and when that is over; of what was always right it is silent."""

from deepseek_operator.api.conditions import get
from deepseek_operator.api.status import JobStatus
from deepseek_operator.isolation import with_isolation


def test_what_was_always_right_is_not_told() -> None:
    status = JobStatus()
    assert with_isolation(status, True) is status


def test_off_and_on_again() -> None:
    off = with_isolation(JobStatus(), False)
    said = get(off.conditions, "Isolated")
    assert said is not None
    assert (said.status, said.reason) == ("False", "EtcdShared")
    assert "docs/reasons/EtcdShared.md" in said.message
    assert with_isolation(off, False) is off, "the same is not written twice"
    on = with_isolation(off, True)
    said = get(on.conditions, "Isolated")
    assert said is not None
    assert (said.status, said.reason, said.message) == ("True", "OwnUser", "")
    assert with_isolation(on, True) is on
