"""The rival's training program: synchronous DDP over gloo on the task digits, a checkpoint by rank 0, every step told.

Run in a pod by torchrun or by itself (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT). FOLDER is what all pods share.
It knows of the project only the task's model and data, and imports as little as one who waits for it would wish.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from deepseek_runtime.tasks.digits import Digits

BATCH = 32
"""Samples of each rank and step."""


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the first process of a container has no usual one
    folder, every, steps = Path(os.environ["FOLDER"]), int(os.environ["EVERY"]), int(os.environ["STEPS"])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank, world = distributed.get_rank(), distributed.get_world_size()
    pod = int(os.environ["JOB_COMPLETION_INDEX"])
    task = Digits()
    torch.manual_seed(0)
    model = task.model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    saved, done = folder / "checkpoint.pt", 0
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done = int(state["step"])
    parallel = DistributedDataParallel(model)
    images, labels = task.dataset("train").tensors
    with (folder / "log.jsonl").open("a", buffering=1) as log:
        log.write(json.dumps({"time": time.time(), "event": "start", "pod": pod, "step": done}) + "\n")
        for step in range(done + 1, steps + 1):
            order = torch.Generator().manual_seed(step)
            chosen = torch.randint(len(labels), (world, BATCH), generator=order)[rank]
            optimizer.zero_grad(set_to_none=True)
            task.loss(parallel, (images[chosen], labels[chosen])).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if rank == 0:
                if step % every == 0:
                    part = saved.with_suffix(".new")
                    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
                    torch.save(state, part)
                    part.replace(saved)
                log.write(json.dumps({"time": time.time(), "step": step}) + "\n")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
