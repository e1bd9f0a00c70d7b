"""Each command answers in the same shape here and in a cluster, and asks the API server for no more than it says."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from builders import snapshots
from builders.job_server import JobServer
from builders.left_jobs import left_job
from deepseek_operator.api.status import JobStatus
from deepseek_runtime.contract.names import Member

Call = Callable[..., Result]
CLUSTER = ("--cluster",)


def shape(value: Any) -> Any:
    """Keys at every depth; of a list its first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value[:1]] if isinstance(value, list) else None


def at_rest(status: JobStatus) -> JobStatus:
    """As the operator leaves it: nobody is left."""
    return status.model_copy(update={"members": ()})


@pytest.mark.parametrize("status", [snapshots.succeeded(), snapshots.failed()], ids=["succeeded", "failed"])
@pytest.mark.parametrize("command", ["status", "why", "events", "wait", "watch", "stop"])
def test_the_same_document_and_exit_code(command: str, status: Any, server: JobServer, call: Call) -> None:
    left_job("digits", at_rest(status.status))
    server.job(at_rest(status.status))
    here, there = call(command, "digits", "-o", "json"), call(command, "digits", "-o", "json", *CLUSTER)
    assert (there.exit_code, there.stderr) == (here.exit_code, here.stderr)
    if command == "watch":
        here_said, there_said = ([json.loads(line) for line in r.stdout.splitlines()][-1] for r in (here, there))
    else:
        here_said, there_said = json.loads(here.stdout), json.loads(there.stdout)
    assert shape(here_said) == shape(there_said)
    assert server.writes == []


def test_the_same_table(server: JobServer, call: Call) -> None:
    left_job("digits", at_rest(snapshots.succeeded().status))
    server.job(at_rest(snapshots.succeeded().status))
    assert call("jobs", *CLUSTER).stdout.splitlines()[0] == call("jobs").stdout.splitlines()[0]
    here, there = (json.loads(call("jobs", "-o", "json", *more).stdout) for more in ((), CLUSTER))
    assert {key for row in here["jobs"] for key in row} == {key for row in there["jobs"] for key in row}
    assert (there["jobs"][0]["job"], there["jobs"][0]["namespace"], there["jobs"][0]["folder"]) == ("digits", "ml", "")


def test_a_table_of_all_namespaces_names_them(server: JobServer, call: Call) -> None:
    server.job()
    other = server.job()
    other["metadata"] |= {"name": "more", "namespace": "other"}
    from deepseek_operator.kube import JOBS

    server.put(other, JOBS)
    server.job()
    assert [line.split()[:2] for line in call("jobs", "-A").stdout.splitlines()] == [
        ["NAMESPACE", "NAME"], ["ml", "digits"], ["other", "more"],
    ]  # fmt: skip
    assert call("jobs", "-A", "--here").exit_code == 64


def test_no_jobs(server: JobServer, call: Call) -> None:
    assert call("jobs", *CLUSTER).stdout == "no jobs in the namespace ml\n"
    assert json.loads(call("status", "-n", "ml", "-o", "json").stdout) == {"jobs": []}


def test_a_job_that_is_not_there(server: JobServer, call: Call) -> None:
    server.job()
    answer = call("status", "digts", "-n", "ml")
    assert answer.exit_code == 66
    assert answer.stderr.startswith("error: there is no job digts in the namespace ml\nhint: did you mean digits?")
    assert call("status", "a/../b", *CLUSTER).exit_code == 66


def test_what_to_do_next_is_spelled_for_the_cluster(server: JobServer, call: Call) -> None:
    server.job(at_rest(snapshots.failed().status))
    answer = call("why", "digits", "-n", "ml")
    assert answer.stdout == "digits has failed: worker 1: train.py line 3: KeyError: 'label'\n"
    assert answer.stderr == (
        "next: dsj -n ml logs digits --role worker --index 1 shows more; mend the code or the data, "
        "then dsj -n ml run --replace for a new start\n"
    )
    hint = call("status", "digits", program="kubectl dsj").stderr
    assert hint == "next: kubectl dsj why digits   kubectl dsj logs digits   kubectl dsj events digits\n"


def test_stop_asks_for_suspend_and_waits(server: JobServer, call: Call) -> None:
    server.job(snapshots.snapshot().status)
    assert call("stop", "digits", "--kill", *CLUSTER).exit_code == 64
    late = call("stop", "digits", "--timeout", "0.02", *CLUSTER)
    assert late.exit_code == 124
    assert server.spec()["suspend"] is True
    server.job(at_rest(snapshots.suspended().status), suspend=True)["metadata"]["generation"] = 0
    done = call("stop", "digits", *CLUSTER)
    assert (done.exit_code, done.stdout) == (
        0, "digits did not run: Suspended, newest checkpoint: step 1000\n",
    )  # fmt: skip


def test_scale_is_a_change_of_the_spec(server: JobServer, call: Call) -> None:
    server.job(snapshots.snapshot().status, workers={"replicas": 3, "max": 4})
    assert call("scale", "digits", "--workers", "4", *CLUSTER).stdout == "digits: 3 -> 4 workers\n"
    assert server.spec()["workers"] == {"replicas": 4, "max": 4}
    refused = call("scale", "digits", "--workers", "5", *CLUSTER)
    assert (refused.exit_code, "spec.workers allows 1 to 4" in refused.stderr) == (64, True)
    assert server.writes == ["patch deepseekjobs digits"]


def test_delete(server: JobServer, call: Call) -> None:
    server.job(snapshots.snapshot().status)
    assert (
        "error: digits is running\nhint: `dsj --cluster stop digits` first" in call("delete", "digits", *CLUSTER).stderr
    )
    server.job(at_rest(snapshots.succeeded().status))
    done = call("delete", "digits", "-o", "json", *CLUSTER)
    assert json.loads(done.stdout) == {"job": "digits", "deleted": "ml/digits"}
    assert server.writes == ["delete deepseekjobs digits"]
    assert call("status", "digits", *CLUSTER).exit_code == 66


def line(second: int, text: str, member: str = "") -> str:
    stamp = f"2026-11-24T15:04:{second:02d}.5Z"
    if not member:
        return f"{stamp} {text}\n"
    said = {"time": f"2026-11-24T15:04:{second:02d}.000Z", "level": "INFO", "job": "digits", "member": member}
    return f"{stamp} {json.dumps({**said, 'message': text})}\n"


def test_logs_of_pods_those_that_were_kept_too(server: JobServer, call: Call) -> None:
    server.job(snapshots.snapshot().status)
    server.pod(Member("worker", 0, 0), line(1, "old", "worker-0-0") + line(2, "Killed"))
    server.pod(Member("worker", 0, 1), line(5, "new\nline", "worker-0-1"))
    server.pod(Member("server", 0, 0), line(3, "listening", "server-0-0"))
    server.pod(Member("worker", 9, 0), line(4, "another job of this name"), owner="u-before")
    assert call("logs", "digits", *CLUSTER).stdout.splitlines() == [
        "server-0-0 | 2026-11-24T15:04:03.000Z INFO member=server-0-0 listening",
        "worker-0-1 | 2026-11-24T15:04:05.000Z INFO member=worker-0-1 new",
        "worker-0-1 | line",
    ]
    one = call("logs", "digits", "--role", "worker", "--index", "0", "--previous", *CLUSTER)
    assert one.stdout.splitlines() == ["2026-11-24T15:04:01.000Z INFO member=worker-0-0 old", "Killed"]
    said = json.loads(call("logs", "digits", "--role", "server", "-o", "json", *CLUSTER).stdout)
    assert (said["member"], said["time"]) == ("server-0-0", "2026-11-24T15:04:03.000000")
    gone = call("logs", "digits", "--role", "etcd", *CLUSTER)
    assert (gone.exit_code, "digits has no log of etcd of its own" in gone.stderr) == (66, True)


def test_a_log_is_read_on_from_where_it_was(server: JobServer) -> None:
    from deepseek_operator.pod_logs import PodLog

    server.pod(Member("worker", 0, 0), line(1, "a") + line(1, "a")[:19] + ".75Z b\n")
    log = PodLog(server.api, "ml", "digits-worker-0-0")
    assert log.more() == ["a", "b"]
    server.logs["digits-worker-0-0"] += line(2, "c")
    assert log.more() == ["c"]
    assert log.more(end=True) == []
    assert PodLog(server.api, "ml", "gone").more() == []
