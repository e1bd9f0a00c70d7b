"""`dsj why`: who, where, why, and what to do, in one line."""

from dataclasses import replace

import pytest

from builders import snapshots
from deepseek_operator.api.status import Failure
from deepseek_operator.view.sentence import why
from deepseek_operator.view.snapshot import Snapshot

KILLED = Failure(role="server", index=0, reason="Killed", message="killed by signal 9", time="2023-11-14T22:13:00Z")


@pytest.mark.parametrize(
    "shot, reason, sentence, remedy",
    [
        (snapshots.snapshot(), "Training", "digits is running, nothing is wrong: step 1200/5000", ""),
        (snapshots.snapshot(last_failure=KILLED), "Training",
         "digits is running, nothing is wrong: step 1200/5000; the last failure, mended: server 0: killed by signal 9",
         ""),
        (snapshots.snapshot(progress=snapshots.progress(last_range_time=snapshots.NOW - 59.0)), "Training",
         "digits is running, nothing is wrong: step 1200/5000", ""),
        (snapshots.snapshot(progress=snapshots.progress(last_range_time=snapshots.NOW - 300.0)), "NoProgress",
         ("digits is running, but finished no range for 5m: step 1200/5000; "
          "a batch that takes so long, or code that waits?"),
         "dsj logs digits --role worker"),
        (snapshots.starting(), "WaitingForServers",
         "digits is starting: the first term begins when all servers have registered", ""),
        (snapshots.restarting(), "MemberLost",
         "digits is restarting: being replaced: worker 1 (killed by signal 9)", ""),
        (snapshots.snapshot(snapshots.condition("Running", "Training"),
                            snapshots.condition("Blocked", "CrashLoop"),
                            message="worker 0 ended 3 times in a row before it did any work"), "CrashLoop",
         "digits is blocked: worker 0 ended 3 times in a row before it did any work", ""),
        (snapshots.draining(), "Draining",
         "digits is draining: the job drains: workers push what they hold, then a checkpoint is written", ""),
        (snapshots.suspended(), "Suspended", "digits is suspended at step 1200", "dsj run --resume digits"),
        (snapshots.succeeded(), "Succeeded", "digits has succeeded: step 5000/5000", "dsj export digits"),
        (snapshots.failed(), "UserCodeRaised", "digits has failed: worker 1: train.py line 3: KeyError: 'label'",
         ("dsj logs digits --role worker --index 1 shows more; mend the code or the data, "
          "then dsj run --resume digits, or dsj run --replace for a new start")),
        (replace(snapshots.snapshot(), attended=False, members_live=True), "Orphaned",
         "the supervisor of digits is gone, its members run on (its log: /state/dsj/digits/logs/supervisor.log)",
         "dsj run --resume digits"),
        (replace(snapshots.snapshot(), attended=False), "Interrupted",
         "digits ended without its supervisor's word (its log: /state/dsj/digits/logs/supervisor.log)",
         "dsj run --resume digits"),
    ],
)  # fmt: skip
def test_why(shot: Snapshot, reason: str, sentence: str, remedy: str) -> None:
    said = why(shot)
    assert (said.reason, said.sentence, said.remedy) == (reason, sentence, remedy)
