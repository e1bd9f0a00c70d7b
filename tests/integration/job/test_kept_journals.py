"""Members as in pods, whose folders end with them: what was trained is counted all the same, from the store alone."""

import json
import os
import signal
import sys
from contextlib import closing
from pathlib import Path

import pytest

from builders import pod_like
from builders.real_jobs import QUICK, SLOW_TALLY, TALLY, Jobs, ended, pid_of, reached, told, until
from deepseek_operator import launch
from deepseek_operator.api.load import load_manifest
from deepseek_runtime.audit import audit
from deepseek_runtime.checkpoint.journals import read_measurements
from deepseek_runtime.checkpoint.store import open_store
from deepseek_runtime.contract.config import load_config
from deepseek_runtime.contract.names import ROLES, Role

POD_LIKE = (sys.executable, "-P", str(Path(pod_like.__file__).absolute()))
SPEC = {**TALLY, "task": "mine:Tally", "args": {"rows": 64, "samples": 128}, "steps": 1600}


@pytest.mark.parametrize("backup", [False, True])
def test_a_server_is_killed_and_its_folder_with_it(jobs: Jobs, backup: bool) -> None:
    (jobs.root / "code").mkdir()
    (jobs.root / "code" / "mine.py").write_text(SLOW_TALLY)
    training = {**SPEC, "code": {"folder": str(jobs.root / "code")}}
    two = {"replicas": 2}
    servers = {**two, "backup": backup}
    spec = {"servers": servers, "workers": two, "training": training, "checkpoint": {"everySteps": 200, "keep": 2}}
    manifest = load_manifest(jobs.write("job", spec))
    commands: dict[Role, tuple[str, ...]] = {role: (*POD_LIKE, role) for role in ROLES}
    folder = launch.start(manifest, jobs.state, timing=QUICK, commands=commands)
    jobs.folders["job"] = folder
    until(folder, reached(500))
    os.kill(pid_of(folder, "server", 1), signal.SIGKILL)
    jobs.hurry()
    status = ended(folder)
    assert (status.phase, status.restarts_total) == ("Succeeded", 1), told(folder)
    (document,) = folder.path.glob("config-*.json")
    config = load_config(document).model_copy(update={"keep_journals": True})
    found = audit(config)
    assert found.exact, found
    assert found.samples_total == 1600 * 16
    # Its neighbour had every push, and wrote each down: nobody went back.
    assert not backup or found.samples_rolled_back == 0
    # Counted by the chief: whoever else looks has no journals.
    assert status.progress is not None
    progress = status.progress
    assert (progress.samples_counted, progress.samples_lost, progress.samples_repeated) == (True, 0, 0), told(folder)
    # So are its measurements, of both chiefs' terms.
    with closing(open_store(config.checkpoint.uri)) as store:
        rows = [json.loads(line) for line in b"".join(read_measurements(store)).splitlines()]
    assert {row["term"] for row in rows if row.get("event") == "TermOpened"} == {1, 2}
    assert rows[-1]["step"] == 1600
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
