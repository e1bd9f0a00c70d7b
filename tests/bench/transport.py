"""`make bench-transport`: dense pushes with the update applied, and pulls, against bare TCP, TLS 1.3, gloo, torch RPC.

25 M parameters in 64 spans, loopback. Ours is the whole way of the product: from the machine's `trained` (encoding
included) until each span has answered, from the lease until the copy is up to date; the rivals move the same bytes
and apply nothing. All stand ready, and have their turn in each round. MEGABYTES, ROUNDS, SERVERS=1,2 change it.
"""

import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Protocol

from bench._members import Ours
from bench._table import Row, machine, publish
from bench._wire_rivals import Pair, Stream, certificate, gloo, rpc
from deepseek_runtime.transport import make_job_keys

ROUNDS = int(os.environ.get("ROUNDS", "11"))
SIZE = int(float(os.environ.get("MEGABYTES", "100")) * 1e6) // (4 * 4096) * (4 * 4096)
"""Bytes."""


class Contender(Protocol):
    def ready(self) -> None: ...

    def round(self) -> tuple[float, float]: ...

    def close(self) -> None: ...


Rates = dict[str, tuple[list[float], list[float]]]
"""By name: GB/s of the pushes, of the pulls."""


def main() -> None:
    where = machine()
    servers = [int(count) for count in os.environ.get("SERVERS", "1,2,3,4").split(",")]
    with tempfile.TemporaryDirectory(prefix="dsj-transport-") as root:
        folder = Path(root)
        make_job_keys(folder / "keys")
        keys = str(folder / "keys")
        contenders: dict[str, Contender] = {
            "TCP": Stream(SIZE),
            "TLS 1.3": Stream(SIZE, certificate(folder)),
            "gloo": Pair(gloo, folder, SIZE),
            "torch RPC": Pair(rpc, folder, SIZE),
        }
        for count in servers:
            contenders[f"plain, {count}"] = Ours(count, "", SIZE // 4)
            contenders[f"encrypted, {count}"] = Ours(count, keys, SIZE // 4)
        try:
            for name, one in contenders.items():
                one.ready()
                progress(f"{name} stands ready")
            rates = measure(contenders)
            for name, (push, pull) in rates.items():
                progress(f"{name}: push {told(push)}, pull {told(pull)} GB/s")
            wrong = max(wrong_weight(one) for one in contenders.values() if isinstance(one, Ours))
        finally:
            for one in contenders.values():
                one.close()
        stopped = [stopped_worker("plain", ""), stopped_worker("encrypted", keys)]
    rows = [row for count in servers for row in rows_of(rates, count)]
    exact = Row("all pushes", "largest error of a weight, of one step", wrong, "", "< 1e-5", wrong < 1e-5)
    spread = [f"{name}: push {told(push)}, pull {told(pull)} GB/s" for name, (push, pull) in rates.items()]
    notes = [f"{SIZE / 1e6:.1f} MB, {ROUNDS} rounds, medians (lowest to highest of the rounds):", *spread]
    publish("transport", [*rows, *stopped, exact], where, notes)


def progress(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def wrong_weight(ours: Ours) -> float:
    ours.workers[0].ask("pull")
    return float(ours.workers[0].ask("wrong"))


def measure(contenders: dict[str, Contender]) -> Rates:
    rates: Rates = {name: ([], []) for name in contenders}
    for turn in range(-2, ROUNDS):
        for name, one in contenders.items():
            seconds = one.round()
            if turn >= 0:
                for kept, took in zip(rates[name], seconds, strict=True):
                    kept.append(SIZE / took / 1e9)
    return rates


def rows_of(rates: Rates, count: int) -> list[Row]:
    rows = []
    for at, what in enumerate(("push", "pull")):
        middle = {name: statistics.median(pair[at]) for name, pair in rates.items()}
        plain, encrypted = middle[f"plain, {count}"], middle[f"encrypted, {count}"]
        case = f"{count} server{'s' if count > 1 else ''}"
        rivals = {name: middle[name] for name in ("gloo", "torch RPC")}
        holds = plain >= 0.8 * middle["TCP"] and plain > max(rivals.values())
        goal = ">= 0.8 of TCP, above the rivals"
        rows.append(Row(f"{case}, plain", what, plain, "GB/s", goal, holds, rivals, middle["TCP"]))
        holds = encrypted >= 0.8 * middle["TLS 1.3"]
        rows.append(
            Row(f"{case}, encrypted", what, encrypted, "GB/s", ">= 0.8 of TLS 1.3", holds, limit=middle["TLS 1.3"])
        )
        rows.append(Row(f"{case}, encrypted", f"{what}: rate of plain", encrypted / plain, "", "said", True))
    return rows


def told(rates: list[float]) -> str:
    return f"{statistics.median(rates):.2f} ({min(rates):.2f} to {max(rates):.2f})"


def stopped_worker(name: str, keys: str) -> Row:
    """The rate of one worker while another one of the same server is stopped in the middle of its pull."""
    ours = Ours(1, keys, SIZE // 4, workers=2)
    ours.ready()
    other = ours.workers[1]
    try:
        both = ROUNDS // 2 + 1
        other.ask("pull")
        other.ask("push")
        for _ in range(2):
            ours.round()
        before = [sum(ours.round()) for _ in range(both)]
        other.tell("pull")
        time.sleep(0.02)  # so that it is stopped in its middle
        os.kill(other.process.pid or 0, signal.SIGSTOP)
        ours.round()
        during = [sum(ours.round()) for _ in range(both)]
    finally:
        os.kill(other.process.pid or 0, signal.SIGCONT)
        ours.close()
    ratio = statistics.median(before) / statistics.median(during)
    return Row(f"a stopped worker, {name}", "rate of the other one, during / before", ratio, "", ">= 0.9", ratio >= 0.9)


if __name__ == "__main__":
    main()
