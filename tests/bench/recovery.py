"""`make bench-recovery`: members, operator, etcd and a whole node of a job in a real Kubernetes are killed.

Two jobs of examples/digits.yaml, made longer: one through ten deaths of single pods, one through that of a node. Each
must end Succeeded. A pod is deleted by kubectl, or its main process gets SIGKILL from outside. When each range was done
is read from the chief's own journal; samples are counted by the job itself when it has ended.

Beside them what one has without this operator (_plain_jobs.py): synchronous DDP in an Indexed Job, with torchrun and
without, on the same nodes with the same image, as many samples between checkpoints; its first pod, which the others
meet at, stands beside the chief.

The cluster is that of CLUSTER (default 0) if it is up, else one of its own, with Kubernetes' default grace of 50 s for
nodes; its images are built unless IMAGES=repository:tag names some that are on the nodes. ONLY=worker,node: only these;
rivals are then measured if `rivals` is among them.
"""

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench._plain_jobs import RIVALS, WORLD, PlainJob
from bench._ranges import Range, Ranges, wait_for
from bench._table import Row, machine, publish
from builders.releases import NAME, Job, Release, keys_program, load_images, step_of
from testcluster import cgroups, cluster, needs
from testcluster.cluster import Cluster
from testcluster.commands import CommandFailed
from testcluster.layout import Layout

GOAL, GOAL_NODE, LIMIT = 20.0, 100.0, 120.0
"""Seconds."""
PATIENCE = 300.0
KINDS = ("worker", "server", "chief", "operator", "etcd")
SEAT = {"worker": ("worker", 1), "server": ("server", 1), "chief": ("server", 0), "operator": ("worker", 2)}
"""Who is killed; while the operator is away, a worker is."""
RIVAL_SEAT = {"worker": 1, "chief": 0}
"""The pod of a rival's Job that stands beside it."""
HOW = {"delete": "kubectl delete pod", "SIGKILL": "SIGKILL in its container"}
BATCH, EVERY = 32, 1000
"""Samples of a step, steps between two checkpoints."""
RIVALS_ARE = (
    f"rivals: DDP over gloo, {WORLD} pods of one rank in an Indexed Job, a checkpoint every {EVERY // WORLD} steps of "
    f"{WORLD} x {BATCH} samples into a shared folder; a Job of its own for each loss. A lost node was not tried: with "
    "Kubernetes' usual tolerations their pods stay bound to it for 300 s"
)
THROUGHPUT, PER_SECOND = "training, nobody killed", "samples/s"
WORKED, GAP, AGAIN, TOUCHED = (
    "until its replacement finished a range", "longest gap", "samples trained again", "others restarted"
)  # fmt: skip
FAVOUR = 8
"""Other work on the machine has so much less of it than the nodes."""


def main() -> None:
    where, notes = machine(), list[str]()
    only = [word for word in os.environ.get("ONLY", "").split(",") if word]
    with found_cluster() as there, favoured(there):
        load_images(there)
        release = Release(there, f"recovery-{uuid.uuid4().hex[:6]}")
        # These two lose everything with their node, so they are not on the one that is killed.
        home = {"nodeSelector": {"kubernetes.io/hostname": "node1"}}
        try:
            release.install({"etcd": {**release.values()["etcd"], **home}, "store": home})
            rate, rows = calibrate(release)
            kinds = [kind for kind in KINDS if not only or kind in only]
            parts = [partial(pods_lost, release, kinds, rate)] if kinds else []
            if not only or "node" in only:
                parts.append(partial(node_lost, release, rate))
            for part in parts:
                try:
                    rows += part()
                except (AssertionError, CommandFailed, TimeoutError) as error:
                    rows.append(Row(part.func.__name__, str(error), 0, "", "no error", False))
            if not only or "rivals" in only:
                rivals_lost(release, rows, notes)
        finally:
            release.remove()
    shares = (
        f"2 nodes on this machine, which had {FAVOUR} times the usual share of its processors; grace {there.grace} s"
    )
    publish("recovery", rows, where, [f"{shares}; jobs trained at {rate:.0f} steps/s", RIVALS_ARE, *notes])


def calibrate(release: Release) -> tuple[float, list[Row]]:
    """Steps a second, and how long a job takes to begin."""
    with Ranges(release.cluster) as ranges:
        began = time.time()
        job = submit(release, "first", 1_000_000)
        first = wait_for(lambda: ranges.first(began, lambda one: True), "a first range", PATIENCE)
        wait_for(lambda: ranges.first(first.time + 15.0, lambda one: True), "15 s of training", PATIENCE)
        rate = ranges.rate(10.0)
    release.kubectl("delete", "deepseekjob", job.name, "--timeout=60s", timeout=90.0)
    wait_for(lambda: None if job.pods() else True, "its pods are gone", PATIENCE)
    took = first.time - began
    return rate, [
        Row("start", "from kubectl apply to the first range", round(took, 1), "s", "< 20", took < 20),
        Row(THROUGHPUT, PER_SECOND, round(rate * BATCH), "", "shown", True),
    ]


def pods_lost(release: Release, kinds: list[str], rate: float) -> list[Row]:
    faults = [(kind, how) for kind in kinds for how in HOW]
    rows: list[Row] = []
    with Ranges(release.cluster) as ranges:
        # While a server is away nothing is trained; of one death alone the end must not come first.
        job = submit(release, "pods", int(rate * (60 + 13 * len(faults))))
        settled(job, ranges)
        for kind, how in faults:
            case = f"{kind}: {HOW[how]}"
            print(f"{time.strftime('%T')} {case}", flush=True)
            try:
                rows += etcd_dies(job, ranges, case, how) if kind == "etcd" else dies(job, ranges, case, kind, how)
            except TimeoutError as error:
                rows.append(Row(case, str(error), PATIENCE, "s", f"< {GOAL:g}", False, limit=LIMIT))
            settled(job, ranges)
        return rows + end_of(job, "the job of these ten" if len(faults) == 10 else "the job of these")


def node_lost(release: Release, rate: float) -> list[Row]:
    there, case = release.cluster, "a node with a server and a worker"
    with Ranges(there) as ranges:
        # It waits for the server that was lost.
        job = submit(release, "node", int(rate * 30))
        settled(job, ranges)
        before = job.pods()
        lost = {seat: pod for seat, pod in before.items() if pod["spec"]["nodeName"] == "node2"}
        assert {seat.split("-")[0] for seat in lost} == {"server", "worker"}, sorted(lost)
        print(f"{time.strftime('%T')} {case}: {', '.join(sorted(lost))}", flush=True)
        killed = time.time()
        there.nodes["node2"].kill()
        try:
            ends = [worked(ranges, killed, seat) for seat in lost]
            rows = measured(job, ranges, case, killed, max(ends), set(before) - set(lost), before, GOAL_NODE)
        except TimeoutError as error:
            rows = [Row(case, str(error), PATIENCE, "s", f"< {GOAL_NODE:g}", False, limit=LIMIT)]
        finally:
            there.nodes["node2"].start()
            there.await_nodes()
        return rows + end_of(job, "its job")


def rivals_lost(release: Release, rows: list[Row], notes: list[str]) -> None:
    """Puts the rivals' figures into our rows of the same case and metric."""
    for rival in RIVALS:
        for kind, index in RIVAL_SEAT.items():
            for how in HOW:
                case = f"{kind}: {HOW[how]}"
                print(f"{time.strftime('%T')} {rival}, {case}", flush=True)
                try:
                    found = rival_loses(release, rival, index, how)
                except (TimeoutError, CommandFailed) as error:
                    notes.append(f"{rival}, {case}: {error}")
                    continue
                for metric, value in found.items():
                    print(f"    {metric}: {value:g}", flush=True)
                    put_beside(rows, THROUGHPUT if metric == PER_SECOND else case, metric, rival, value)


def rival_loses(release: Release, rival: str, index: int, how: str) -> dict[str, float]:
    with PlainJob(release, rival, EVERY // WORLD) as there:
        there.settled()
        rate, pod = there.rate(), there.pod(index)
        killed = time.time()
        kill(release, pod, how)
        loss = there.lost(killed, index)
    return {
        WORKED: round(loss.until, 2), GAP: round(loss.gap, 2), AGAIN: loss.samples, TOUCHED: loss.restarted,
        PER_SECOND: round(rate),
    }  # fmt: skip


def put_beside(rows: list[Row], case: str, metric: str, rival: str, value: float) -> None:
    for place, row in enumerate(rows):
        if (row.case, row.metric) == (case, metric):
            rows[place] = replace(row, rival={**row.rival, rival: value})


def dies(job: Job, ranges: Ranges, case: str, kind: str, how: str) -> list[Row]:
    """A member; or the operator, and a worker while nobody can replace it."""
    release, before = job.release, job.pods()
    role, index = SEAT[kind]
    (seat,) = [name for name in before if name.startswith(f"{role}-{index}-")]
    operator = release.leader() if kind == "operator" else ""
    killed = time.time()
    if operator:
        kill(release, operator, how)
        kill(release, f"{job.name}-{seat}", "SIGKILL")
    else:
        kill(release, f"{job.name}-{seat}", how)
    end = worked(ranges, killed, seat)
    return measured(job, ranges, case, killed, end, set(before) - {seat}, before, GOAL)


def etcd_dies(job: Job, ranges: Ranges, case: str, how: str) -> list[Row]:
    release, before = job.release, job.pods()
    program = ["kubectl", "exec", f"deployment/{NAME}", "-n", release.namespace, "-c", "operator", "--"]
    watch = subprocess.Popen(
        [*program, "python", "-u", "-c", keys_program(0.2)],
        env={**os.environ, **release.cluster.environment, "PATH": f"{release.cluster.programs}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watch.stdout is not None
        registered(watch.stdout, 0.0, len(before))
        killed = time.time()
        kill(release, release.pod("etcd"), how)
        away(watch.stdout, killed, len(before))
        end = registered(watch.stdout, killed, len(before))
    finally:
        watch.kill()
        watch.wait(10)
    wait_for(lambda: ranges.first(end, lambda one: True), "a range after etcd is back", PATIENCE)
    return measured(job, ranges, case, killed, end, set(before), before, GOAL, "until all are registered again")


def registered(lines: Iterator[str], since: float, members: int) -> float:
    """When it was first seen that all are."""
    for line in lines:
        at, keys = json.loads(line)
        if at > since and count(keys) == members:
            return float(at)
        if at > since + PATIENCE > PATIENCE:
            raise TimeoutError("all members registered again")
    raise TimeoutError("keys of etcd: kubectl exec ended")


def away(lines: Iterator[str], since: float, members: int) -> None:
    """Returns when etcd is seen not to answer, or not to hold all of them."""
    for line in lines:
        at, keys = json.loads(line)
        if at > since and count(keys) < members:
            return
        if at > since + 30.0:
            raise TimeoutError("etcd is gone")


def count(keys: dict[str, str] | None) -> int:
    return sum("/members/" in key for key in keys or {})


def worked(ranges: Ranges, killed: float, seat: str) -> float:
    """When the replacement of `<role>-<index>-<incarnation>` has finished a range."""
    role, index, incarnation = seat.split("-")

    def by_it(one: Range) -> bool:
        name, place, number = one.worker.split("-")
        return (name, place) == ("worker", index) and int(number) > int(incarnation)

    def found() -> Range | None:
        if role == "worker":
            return ranges.first(killed, by_it)
        # A term opens when all its servers are there; a range is done when all of them have it.
        opened = ranges.opened(killed)
        return None if opened is None else ranges.first(opened.time, lambda one: one.term >= opened.term)

    return wait_for(found, f"the replacement of {seat} has finished a range", PATIENCE).time


def measured(
    job: Job,
    ranges: Ranges,
    case: str,
    killed: float,
    end: float,
    others: set[str],
    before: dict[str, dict[str, Any]],
    goal: float,
    what: str = WORKED,
) -> list[Row]:
    took, gap = end - killed, ranges.longest_gap(killed, end)
    after = job.pods()
    touched = sum(seat not in after or uid_of(after[seat]) != uid_of(before[seat]) for seat in others)
    rows = [
        Row(case, what, round(took, 2), "s", f"< {goal:g}", took < goal, limit=LIMIT),
        Row(case, GAP, round(gap, 2), "s", f"< {goal:g}", gap < goal, limit=LIMIT),
    ]
    opened, again = ranges.opened(killed), 0
    if opened is not None:
        step = opened.restored_step
        metric = "step restored" if step is not None else "nobody went back"
        rows.append(Row(case, metric, float(step or 0), "", "> 0", metric == "nobody went back" or bool(step)))
        reached = max((one.step for one in ranges.done() if one.time <= killed), default=0)
        again = max(0, reached - step) * BATCH if step is not None else 0
    rows.append(Row(case, AGAIN, again, "", "shown", True))
    rows.append(Row(case, TOUCHED, touched, "", "0", touched == 0))
    for row in rows:
        print(f"    {row.metric}: {row.ours:g} {row.unit}", flush=True)
    return rows


def end_of(job: Job, case: str) -> list[Row]:
    job.until(lambda status: status.finished, "its end", 1800.0)
    # The chief counts when all is done, and tells as the last of all.
    with suppress(TimeoutError):
        wait_for(lambda: True if counted(job) else None, "samples counted", 60.0)
    status = job.status()
    progress = status.progress
    assert progress is not None, job.told()
    sure, accuracy = progress.samples_counted, progress.metrics.get("accuracy", 0.0)
    succeeded = status.phase == "Succeeded"
    return [
        Row(case, f"ended {status.phase}, step", step_of(status), "", "Succeeded", succeeded),
        Row(case, "accuracy", round(accuracy, 4), "", ">= 0.98", accuracy >= 0.98),
        Row(case, "samples lost", progress.samples_lost, "", "0", sure and not progress.samples_lost),
        Row(case, "samples repeated", progress.samples_repeated, "", "0", sure and not progress.samples_repeated),
        Row(case, "samples rolled back", progress.samples_rolled_back, "", "shown", True),
    ]


def counted(job: Job) -> bool:
    progress = job.status().progress
    return progress is not None and progress.samples_counted


def submit(release: Release, name: str, steps: int) -> Job:
    def change(spec: dict[str, Any]) -> None:
        spec["training"].update(steps=steps, evaluation={"everySteps": steps})
        spec["checkpoint"] = {"everySteps": EVERY, "keep": 3}

    return release.submit(name, change)


def settled(job: Job, ranges: Ranges) -> None:
    """All are at work, and have been for a while: there is a checkpoint to go back to."""
    names = {"worker-0", "worker-1", "worker-2"}
    since = time.time()

    def all_work() -> bool | None:
        seen = {one.worker.rpartition("-")[0] for one in ranges.done() if one.time > since}
        return True if seen == names else None

    wait_for(all_work, "all workers are at work", PATIENCE)
    job.until(lambda status: (p := status.progress) and p.checkpoint and p.checkpoint.step, "a checkpoint")


def kill(release: Release, pod: str, how: str) -> None:
    if how == "delete":
        release.kubectl("delete", "pod", pod, "--wait=false")
    else:
        release.cluster.signal(release.namespace, pod, number=signal.SIGKILL)


def uid_of(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["uid"])


@contextmanager
def found_cluster() -> Iterator[Cluster]:
    reason = needs.why_not()
    if reason is not None:
        raise SystemExit(f"bench-recovery: {reason}")
    with cluster.found_or_started(Layout(int(os.environ.get("CLUSTER", "0")))) as (there, _):
        yield there


@contextmanager
def favoured(there: Cluster) -> Iterator[None]:
    """Its pods get a larger share of the processors: other work on this machine is not what is measured."""
    file, usual = (
        (cgroups.MOUNT / there.layout.name / "cpu.weight", 100)
        if cgroups.unified()
        else (cgroups.MOUNT / "cpu" / there.layout.name / "cpu.shares", 1024)
    )
    share(file, usual * FAVOUR)
    try:
        yield
    finally:
        share(file, usual)


def share(file: Path, value: int) -> None:
    if file.exists():
        file.write_text(str(value))


if __name__ == "__main__":
    main()
