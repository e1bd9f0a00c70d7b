"""Snapshots of jobs in every state that a view must show, at one fixed time."""

from dataclasses import replace
from typing import Any

from deepseek_operator.api.conditions import derive_phase
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.status import (
    Condition,
    ConditionType,
    Failure,
    JobEvent,
    JobStatus,
    MemberStatus,
    Recovery,
    RoleStatus,
    TermStatus,
)
from deepseek_operator.api.times import rfc3339
from deepseek_operator.view.snapshot import Snapshot
from deepseek_runtime.contract.records import CheckpointRef, Progress

NOW = 1_700_000_000.0
BEGAN = NOW - 32.0


def digits_job() -> DeepseekJob:
    training = {"task": "deepseek_runtime.tasks.digits:Digits", "steps": 5000, "batchSize": 32}
    spec = {"servers": {"replicas": 2}, "workers": {"replicas": 3}, "training": training}
    return DeepseekJob.model_validate({"metadata": {"name": "digits"}, "spec": spec})


def progress(**fields: Any) -> Progress:
    values = {
        "term": 1, "step": 1200, "steps": 5000, "loss": 1.8312, "metrics": {"accuracy": 0.97041, "loss": 0.1179},
        "metrics_step": 1000, "samples_per_second": 8123.4, "workers": 3,
        "checkpoint": CheckpointRef(term=1, step=1000), "checkpoint_time": NOW - 42, "wire_bytes": 3_100_000,
        "dense_bytes": 290_169_600, "local_steps": 8, "pushed": 5569.05, "staleness_p50": 2.0, "staleness_p95": 4.0,
        "parameters": 30226, "ranges_done": 150,
    }  # fmt: skip
    return Progress.model_validate(values | fields)


def condition(type_: ConditionType, reason: str, message: str = "", true: bool = True) -> Condition:
    return Condition(
        type=type_, status="True" if true else "False", reason=reason, message=message,
        last_transition_time=rfc3339(BEGAN),
    )  # fmt: skip


def event(seconds: float, reason: str, message: str, **fields: Any) -> JobEvent:
    """`seconds` after the start."""
    time = rfc3339(BEGAN + seconds).replace("Z", ".250Z")
    return JobEvent(**{"type": "Normal", "time": time, "reason": reason, "message": message} | fields)


def members(servers: int = 2, workers: int = 3) -> tuple[MemberStatus, ...]:
    made = [MemberStatus(role="server", index=i, incarnation=0, phase="running", pid=4000 + i) for i in range(servers)]
    made += [MemberStatus(role="worker", index=i, incarnation=0, phase="running", pid=4100 + i) for i in range(workers)]
    return tuple(made)


def snapshot(*conditions: Condition, **status: Any) -> Snapshot:
    """A running job of 2 servers and 3 workers, where `status` does not say otherwise."""
    held = (condition("Created", "Accepted"), *(conditions or (condition("Running", "Training"),)))
    values = {
        "conditions": held, "phase": derive_phase(held), "started": rfc3339(BEGAN), "progress": progress(),
        "servers": RoleStatus(desired=2, ready=2), "workers": RoleStatus(desired=3, ready=3),
        "term": TermStatus(number=1), "opened": 1, "members": members(),
        "events": (
            event(0, "Created", "2 server(s) and 3 worker(s) are asked for"),
            event(2, "TermRaised", "term 1: all 2 server(s) have registered"),
            event(12, "TermOpened", "term 1: 2 servers, from checkpoint of step 0"),
            event(16, "CheckpointSaved", "step 500"),
            event(21, "Evaluated", "step 1000: accuracy 0.9704, loss 0.1179"),
            event(21, "CheckpointSaved", "step 1000"),
        ),
    }  # fmt: skip
    return Snapshot(
        name="digits",
        status=JobStatus(**values | status),
        now=NOW,
        job=digits_job(),
        losses=tuple(2.4 * 0.97**push for push in range(150)),
        rates={"worker-0-0": 2700.0, "worker-1-0": 2650.5, "worker-2-0": 2773.25},
        folder="/state/dsj/digits",
    )


def starting() -> Snapshot:
    shot = snapshot(
        condition("Running", "WaitingForServers", "the first term begins when all servers have registered", true=False),
        progress=None, servers=RoleStatus(desired=2), workers=RoleStatus(desired=3), term=TermStatus(), opened=0,
        members=tuple(m.model_copy(update={"phase": "starting"}) for m in members()), events=(),
        message="the first term begins when all servers have registered",
    )  # fmt: skip
    return replace(shot, losses=(), rates={})


def restarting() -> Snapshot:
    lost = Recovery(
        role="worker",
        index=1,
        at_step=1180,
        cause="killed by signal 9",
        incarnation=1,
        lost_at=NOW - 2,
        longest_gap=0.41,
    )
    mended = Recovery(
        role="server",
        index=0,
        at_step=720,
        seconds=3.24,
        longest_gap=2.9,
        restored_step=500,
        cause="killed by signal 9",
    )
    shot = snapshot(
        condition("Running", "Training"), condition("Restarting", "MemberLost"),
        recoveries=(mended, lost), restarts=2, restarts_total=2,
        message="being replaced: worker 1 (killed by signal 9)",
        progress=progress(residual_lost=812.4, loss_scale=65536.0, samples_skipped=32),
    )  # fmt: skip
    return replace(shot, rates={"worker-0-0": 2700.0})


def crowd(workers: int = 40) -> Snapshot:
    shot = snapshot(members=members(4, workers), servers=RoleStatus(desired=4, ready=4),
                    workers=RoleStatus(desired=workers, ready=workers))  # fmt: skip
    return replace(shot, rates={f"worker-{index}-0": 200.0 for index in range(workers)})


def succeeded() -> Snapshot:
    shot = snapshot(
        condition("Running", "Finished", true=False), condition("Succeeded", "AllStepsDone"),
        condition("Finished", "Succeeded"),
        members=(), servers=RoleStatus(desired=2), workers=RoleStatus(desired=3), exit_code=0,
        finished=rfc3339(NOW - 1),
        progress=progress(step=5000, metrics_step=5000, last_range_time=NOW - 2.0,
                          wire_bytes=12_900_000, dense_bytes=1_209_040_000),
    )  # fmt: skip
    return replace(shot, attended=False, rates={})


def failed() -> Snapshot:
    failure = Failure(
        role="worker", index=1, exit_code=65, reason="UserCodeRaised", time=rfc3339(NOW - 3),
        message="train.py line 3: KeyError: 'label'",
    )  # fmt: skip
    shot = snapshot(
        condition("Running", "Finished", true=False), condition("Failed", "UserCodeRaised"),
        condition("Finished", "Failed"),
        members=(), servers=RoleStatus(desired=2), workers=RoleStatus(desired=3), exit_code=65,
        finished=rfc3339(NOW - 1), last_failure=failure, message="worker 1: train.py line 3: KeyError: 'label'",
    )  # fmt: skip
    return replace(shot, attended=False, rates={})


def suspended() -> Snapshot:
    shot = snapshot(
        condition("Running", "Suspended", true=False), condition("Suspended", "Suspended"), members=(),
        servers=RoleStatus(desired=2), workers=RoleStatus(desired=3),
        message="the job is suspended; to go on: dsj run --resume digits",
    )  # fmt: skip
    return replace(shot, attended=False, rates={})


def draining() -> Snapshot:
    return snapshot(
        condition("Running", "Draining", true=False),
        condition("Suspended", "Draining", true=False),
        message="the job drains: workers push what they hold, then a checkpoint is written",
    )
