"""Loss calibration on real members: what a task does to its labels is held back, undone, told, and over again."""

import json

from builders.real_jobs import Jobs, ended, told
from deepseek_operator.api.status import JobStatus

MISLABELLED = """\
from deepseek_runtime.tasks import digits

class Digits(digits.Digits):
    calls = 0

    def loss(self, model, batch):
        images, labels = batch
        Digits.calls += 1
        if 300 < Digits.calls <= 420:
            labels = (labels + 1) % 10
        return super().loss(model, (images, labels))
"""
"""The 76th to the 105th range that its one worker trains."""


def reasons(status: JobStatus) -> list[str]:
    return [event.reason for event in status.events]


def test_wrong_labels_are_held_back_and_the_run_is_calm_again(jobs: Jobs) -> None:
    folder = jobs.start(
        {
            "task": "mine:Digits",
            "args": {"width": 8},
            "batchSize": 32,
            "steps": 600,
            "optimizer": {"name": "adamw", "lr": 2e-3},
            "update": {"localSteps": 4},
            "guard": {
                "mode": "act",
                "warmupRanges": 24,
                "calmRanges": 8,
                "slowAfter": 2,
                "rollBackAfter": 6,
                "maxRollBacks": 1,
            },
        },
        code=MISLABELLED,
        checkpoint={"everySteps": 100},
    )
    status = ended(folder)
    assert (status.phase, status.restarts_total) == ("Succeeded", 0), told(folder)
    said = reasons(status)
    steps = ["LossImplausible", "PrecisionRaised", "RangeSkipped", "StepShrunk", "RollBackWanted", "LossCalm"]
    assert [said.index(one) for one in steps] == sorted(said.index(one) for one in steps), told(folder)
    raised = [event.message for event in status.events if event.reason == "TermRaised"]
    assert any("asked to go back" in text for text in raised), raised
    assert said.index("LossCalm") > said.index("RollBackWanted")
    assert status.progress is not None and status.progress.guard is not None
    guard = status.progress.guard
    assert (guard.step, guard.learning_rate_factor, guard.anomalies, guard.roll_backs) == ("calm", 1.0, 0, 1)
    assert guard.held >= 6 and guard.loss_limit is not None
    assert status.progress.metrics["accuracy"] > 0.9
    lines = [json.loads(line) for path in folder.path.rglob("metrics.jsonl") for line in path.read_text().splitlines()]
    assert {"LossImplausible", "StepShrunk", "LossCalm"} <= {line.get("event") for line in lines}
