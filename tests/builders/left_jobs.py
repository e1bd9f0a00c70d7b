"""A job as its folder looks when it has ended: status, config document, measurements, checkpoints."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from builders import snapshots
from deepseek_operator.api.load import dump_job
from deepseek_operator.api.status import JobStatus
from deepseek_operator.state_folder import Identity, StateFolder, default_state_root
from deepseek_runtime.checkpoint.local import LocalStore
from deepseek_runtime.contract.config import Checkpoint, JobConfig, Training

GENERATION = "0123456789abcdef"


def left_job(
    name: str = "digits", status: JobStatus | None = None, rows: Sequence[Mapping[str, Any]] = (), begun: bool = True
) -> StateFolder:
    """In the test's own state folder. begun: its members got as far as a config document."""
    folder = StateFolder(default_state_root() / name)
    folder.logs.mkdir(parents=True)
    folder.checkpoints.mkdir()
    folder.identity_file.write_text(Identity(uid="u1", generation=GENERATION).model_dump_json())
    folder.job_file.write_text(dump_job(snapshots.digits_job()))
    folder.save_status(status or snapshots.succeeded().status)
    folder.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if begun:
        config = JobConfig(
            job=name,
            uid="u1",
            etcd=("127.0.0.1:1",),
            data_dir=str(folder.path),
            training=Training(steps=1000, batch_size=4),
            checkpoint=Checkpoint(uri=folder.checkpoints.as_uri()),
        )
        folder.config_file(GENERATION).write_text(config.model_dump_json())
    return folder


def store_of(folder: StateFolder) -> LocalStore:
    return LocalStore(str(folder.checkpoints))


def trained(
    steps: int = 200, *, roll_back_at: int | None = None, loss: float = 2.0, wire: int = 1000
) -> list[dict[str, Any]]:
    """What a chief measures: a push every 8 steps, an evaluation every 80; at `roll_back_at` all go back 32 steps."""
    rows: list[dict[str, Any]] = [{"time": 1.0, "event": "TermOpened", "text": "term 1", "term": 1, "step": 0}]
    term, begun, place, time = 1, 0, 0, 1.0
    while place < steps:
        time += 1.0
        rows.append(
            {"time": time, "term": term, "step": place, "wire": (place - begun + 8) * wire, "g": place // 8,
             "worker": "worker-0-0", "samples": 256, "loss": loss * 0.94 ** (place / 4), "staleness": 1}
        )  # fmt: skip
        place += 8
        if place % 80 == 0:
            values = {"accuracy": 1 - 0.5 * 0.99**place, "loss": loss * 0.94 ** (place / 4)}
            rows.append({"time": time, "event": "Evaluated", "text": "", "term": term, "step": place, **values})
            rows.append(
                {"time": time, "event": "CheckpointSaved", "text": f"step {place}", "term": term, "step": place}
            )
        if place == roll_back_at:
            term, begun, place = term + 1, place - 32, place - 32
            rows.append({"time": time, "event": "TermOpened", "text": "", "term": term, "step": place})
            roll_back_at = None
    return rows
