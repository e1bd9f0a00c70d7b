"""`make bench-checkpoint`: what a checkpoint costs a job that trains on, against torch.save and DCP's async_save.

25 M parameters with AdamW's state, 300 MB: a server stores the weights, a worker its moments, and pushes go on. All
files are synced. CHECKPOINTS, MEGABYTES (of the weights), FOLDER (where to store) change it.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import _savers
from bench._remote import PATIENCE, Remote
from bench._table import Row, machine, publish
from deepseek_runtime.contract.records import ServerSeat, TermRecord

CHECKPOINTS = int(os.environ.get("CHECKPOINTS", "20"))
PARAMETERS = int(float(os.environ.get("MEGABYTES", "100")) * 1e6) // (4 * 4096) * 4096
CALM = 8
"""Pushes without a checkpoint before each."""


class Measured:
    def __init__(self) -> None:
        self.calm: list[float] = []
        self.during: list[float] = []
        self.first: list[float] = []
        """The first push after the order: it finds every span lent."""
        self.order: list[float] = []
        self.copy: list[float] = []
        self.total: list[float] = []
        self.memory: list[float] = []
        self.rivals: dict[str, list[tuple[float, float, int]]] = {"torch.save": [], "async_save": []}


def main() -> None:
    where = machine()
    with tempfile.TemporaryDirectory(prefix="dsj-checkpoint-", dir=os.environ.get("FOLDER")) as root:
        members = [Remote(target, PARAMETERS, root) for target in (_savers.server, _savers.worker, _savers.torch_saver)]
        try:
            measured = measure(members, Path(root))
        finally:
            for one in members:
                one.close()
    publish("checkpoint", rows(measured), where, notes(measured))


def measure(members: list[Remote], folder: Path) -> Measured:
    server, worker, saver = members
    record = TermRecord(number=1, servers=(ServerSeat(index=0, incarnation=0, address=server.answer()),))
    server.ask(record)
    worker.ask(record)
    saver.answer()
    kept = Measured()
    for _ in range(CALM):
        worker.ask("round")
    for step in range(1, CHECKPOINTS + 1):
        kept.calm += [worker.ask("round") for _ in range(CALM)]
        kept.copy.append(worker.ask("save", step))
        kept.order.append(server.ask("save", step))
        kept.first.append(worker.ask("round"))
        kept.during.append(kept.first[-1])
        ended = wait(server, worker, kept.during)
        kept.total.append(max(seconds for seconds, _, _ in ended))
        kept.memory.append(sum(most for _, most, _ in ended))
        for name, results in kept.rivals.items():
            results.append(saver.ask(name, step))
        for old in folder.glob("*-[0-9]*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        shutil.rmtree(folder / "t1")
        print(time.strftime("%H:%M:%S"), f"checkpoint {step}", file=sys.stderr, flush=True)
    return kept


def wait(server: Remote, worker: Remote, pushes: list[float]) -> list[Any]:
    """Pushes until both have stored theirs."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ended = [server.ask("done"), worker.ask("done")]
        if all(ended):
            assert not any(failed for _, _, failed in ended), ended
            return ended
        pushes.append(worker.ask("round"))
    raise TimeoutError("the checkpoint does not end")


def rows(kept: Measured) -> list[Row]:
    saves = statistics.median(total for _, total, _ in kept.rivals["torch.save"])
    stall = statistics.median(waited for waited, _, _ in kept.rivals["async_save"])
    rival = {"async_save": statistics.median(total for _, total, _ in kept.rivals["async_save"])}
    more = float(np.quantile(kept.during, 0.99) - np.quantile(kept.calm, 0.99))
    first = statistics.median(kept.first) - statistics.median(kept.calm)
    order, copy = statistics.median(kept.order), statistics.median(kept.copy)
    total = statistics.median(kept.total)
    beside = statistics.median(kept.memory) / 1e6
    theirs = {name: statistics.median(most for _, _, most in kept.rivals[name]) / 1e6 for name in kept.rivals}
    waits = {"torch.save": saves * 1e3, "async_save waits": stall * 1e3}
    case = f"{PARAMETERS / 1e6:.1f} M parameters"
    return [
        Row(case, "push, p99: with - without", more * 1e3, "ms", "< 5 % of torch.save", more < 0.05 * saves, waits),
        Row(case, "push, p99: of torch.save", more / saves, "", "< 0.05 (goal 0.01)", more < 0.05 * saves),
        Row(case, "the first push after it: more, median", first * 1e3, "ms", "said", True, waits),
        Row(case, "the order itself, median", order * 1e3, "ms", "said", True),
        Row(case, "one worker copies its moments, median", copy * 1e3, "ms", "said", True, waits),
        Row(case, "until all is stored", total, "s", "<= async_save", total <= rival["async_save"], rival),
        Row(case, "memory beside, at most", beside, "MB", "said", True, theirs),
    ]


def notes(kept: Measured) -> list[str]:
    told = ", ".join(
        f"{name} a checkpoint {len(times)}: median {statistics.median(times) * 1e3:.1f}, "
        f"p99 {np.quantile(times, 0.99) * 1e3:.1f} ms"
        for name, times in {"without": kept.calm, "with": kept.during}.items()
    )
    rivals = [
        f"{name} {min(total for _, total, _ in results):.2f} to {max(total for _, total, _ in results):.2f} s"
        for name, results in kept.rivals.items()
    ]
    ours = f"{min(kept.total):.2f} to {max(kept.total):.2f} s"
    return [f"pushes {told}", f"{CHECKPOINTS} checkpoints: ours {ours}, {', '.join(rivals)}"]


if __name__ == "__main__":
    main()
