"""The rival's program: DistributedDataParallel over gloo, one rank a process; rank 0 is told when to go on.

    python -m bench._net.ddp '{"rank": 0, "world": 4, "master": "10.0.0.1", "task": "digits", ...}'

Rank 0 reads a number of steps a line from stdin and prints {"seconds": of each of them} when all ranks have made them;
0 steps, or the end of stdin, end all. Batches may take a fixed time, as those of waiting.py: a third of it forward, the
rest backward, spread over the model's blocks, so that gradients travel meanwhile as they do when it computes.
"""

import json
import os
import sys
import time
from datetime import timedelta
from typing import Any, Final

import torch
from torch import distributed, nn
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook
from torch.nn.parallel import DistributedDataParallel

from bench._net.waiting import BYTES
from deepseek_runtime.tasks.bytelm import ByteLM
from deepseek_runtime.tasks.digits import Digits
from deepseek_runtime.tasks.task import Task

PORT: Final = 29500
RANK: Final = 4
"""Of PowerSGD's matrices."""


class Rank:
    """given: rank, world, master (address of rank 0), task (digits or bytelm), args (of the task), wait (seconds a
    batch; null: it computes), windows (of a batch of bytelm that computes), powersgd (bool)."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._wait: float | None = given["wait"]
        self._text = given["task"] == "bytelm"
        self._windows = int(given.get("windows") or 1)
        self._task: Task = ByteLM(**given["args"]) if self._text else Digits(**given["args"])
        self._context = int(given["args"].get("context", 0))
        torch.manual_seed(0)
        self._model = self._task.model()
        if self._wait is not None:
            slow_down(self._model, self._wait)
        self._parallel = DistributedDataParallel(self._model)
        if given["powersgd"]:
            state = powerSGD_hook.PowerSGDState(None, matrix_approximation_rank=RANK, start_powerSGD_iter=2)
            self._parallel.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=1e-4)
        torch.manual_seed(given["rank"])

    def step(self) -> float:
        """Seconds that it took."""
        began = time.monotonic()
        self._optimizer.zero_grad(set_to_none=True)
        self._task.loss(self._parallel, self._batch()).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return time.monotonic() - began

    def _batch(self) -> Any:
        if not self._text:
            return torch.rand(32, 1, 8, 8), torch.randint(10, (32,))
        if self._wait is not None:
            return torch.randint(256, (1, BYTES + 1))
        return torch.randint(256, (self._windows, self._context + 1))


def slow_down(model: nn.Module, seconds: float) -> None:
    """A third of the time is waited forward, the rest backward, in equal parts at each block."""
    blocks = list(getattr(model, "blocks", [])) or [next(iter(model.children()))]
    forward, backward = seconds / 3 / len(blocks), seconds * 2 / 3 / len(blocks)
    for block in blocks:
        block.register_forward_hook(lambda *_: time.sleep(forward))
        block.register_full_backward_hook(lambda *_: time.sleep(backward))


def main() -> None:
    given = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": given["master"], "MASTER_PORT": str(PORT + int(given["powersgd"]))}
    distributed.init_process_group("gloo", rank=given["rank"], world_size=given["world"], timeout=timedelta(minutes=20))
    rank = Rank(given)
    while True:
        asked = torch.zeros(1, dtype=torch.int64)
        if given["rank"] == 0:
            line = sys.stdin.readline()
            asked[0] = int(line) if line.strip() else 0
        distributed.broadcast(asked, 0)
        if asked.item() == 0:
            break
        seconds = [rank.step() for _ in range(int(asked.item()))]
        distributed.barrier()
        if given["rank"] == 0:
            print(json.dumps({"seconds": seconds}), flush=True)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
