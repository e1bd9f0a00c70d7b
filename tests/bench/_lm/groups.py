"""Groups of runs: what they are, how one is run, and the file of those that are done, so that a command goes on where
the last one stopped."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from bench._lm import model, runs
from bench._lm.data import Corpus
from bench._lm.training import Trainer

SPEEDS = {
    4: (1.0, 0.9, 0.75, 0.5),
    8: (1.0, 0.95, 0.9, 0.85, 0.75, 0.7, 0.6, 0.5),
}
"""Of the workers, by their number."""
Kind = Literal["synchronous", "powersgd", "local", "gradient"]


@dataclass(frozen=True, slots=True)
class Group:
    """Lanes that see the same events. rank, dense_steps: of powersgd; local_steps: of local."""

    name: str
    kind: Kind
    batches: int
    lanes: Sequence[runs.Lane]
    workers: int = 4
    local_steps: int = 8
    rank: int = 4
    dense_steps: int = 10

    def key(self) -> str:
        """What a result belongs to: another definition is another run."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(slots=True)
class Results:
    """One JSON line a group: its definition, what came out, on which device, in how many seconds."""

    path: Path
    lines: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Results":
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return cls(path, {line["key"]: line for line in map(json.loads, lines)})

    def add(self, line: dict[str, Any]) -> None:
        self.lines[line["key"]] = line
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class Runner:
    """Keeps one trainer: groups of the same shape one after the other need no new graphs."""

    def __init__(self, gpt: model.GPT, device: str, held_out: int, say: Callable[[str], None]) -> None:
        self.device = device
        self._gpt, self._say = gpt, say
        self.corpus = Corpus.read(gpt.context, device)
        self._held_out = self.corpus.held_out(held_out)
        self._fast = model.compiled() if device == "cuda" else model.plain()
        self._trainer: Trainer | None = None

    def trainer(self, lanes: int, windows: int) -> Trainer:
        kept = self._trainer
        if kept is None or (kept.lanes, kept.batch_size) != (lanes, windows):
            self._trainer = kept = None
            if self.device == "cuda":
                torch.cuda.empty_cache()
            self._trainer = Trainer(self._gpt, self.corpus, lanes, windows, self._fast)
        assert self._trainer is not None
        return self._trainer

    def run(self, group: Group) -> dict[str, Any]:
        """What Results.add takes."""
        began = time.monotonic()
        windows = runs.WINDOWS * (group.workers if group.kind == "synchronous" else 1)
        trainer = self.trainer(len(group.lanes), windows)
        setting = runs.Setting(trainer, group.lanes, group.batches, self._held_out, self._say)
        speeds = SPEEDS[group.workers]
        if group.kind == "synchronous":
            outcome = runs.synchronous(setting, group.workers)
        elif group.kind == "powersgd":
            outcome = runs.powersgd(setting, group.workers, group.rank, group.dense_steps)
        elif group.kind == "local":
            outcome = runs.local(setting, speeds, group.local_steps)
        else:
            outcome = runs.gradient(setting, speeds)
        seconds = time.monotonic() - began
        return {
            "key": group.key(),
            "group": asdict(group),
            "outcome": asdict(outcome),
            "dense_bytes": runs.dense_bytes(setting),
            "parameters": trainer.space.parameters,
            "device": torch.cuda.get_device_name() if self.device == "cuda" else "cpu",
            "seconds": round(seconds, 2),
        }
