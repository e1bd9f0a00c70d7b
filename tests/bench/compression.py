"""What compression costs: residual, selection and packing, beside what others select with and beside one copy.

    make bench-compression [VALUES=25000000]

A push as a worker makes it: 64 spans, e' = e + d - payload, the payloads as bytes; one core, Gaussian values. Rounds
are interleaved, so that whatever else the machine does meets all alike. Times are the thread's own CPU time (a core
that others use too gives no other true figure), medians with the range; the unit is one copy of the vector, taken in
the same round.
"""

import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from bench._gpu_compression import rows_of_a_gpu
from bench._table import Row, machine, publish
from deepseek_runtime.compression import SpanCodec, codec_for, load
from deepseek_runtime.compression.form import ValueBits
from deepseek_runtime.compression.pieces import MethodName
from deepseek_runtime.contract.config import Compression
from deepseek_runtime.space import Space, TensorSpec

ROUNDS = 7
VALUES = int(os.environ.get("VALUES", "25000000"))
MOST, GOAL = 6.0, 4.0
"""Copies of the vector."""
F32 = np.ndarray[tuple[int], np.dtype[np.float32]]


def entropy(part: float) -> float:
    """Bits a position, of all positions, when this part of them is drawn at random."""
    return -part * math.log2(part) - (1 - part) * math.log2(1 - part)


class Push:
    """One way of compressing: its spans' codecs, and what the last round gave."""

    def __init__(self, name: str, space: Space, settings: Compression) -> None:
        self.name, self.settings, self.space = name, settings, space
        self.codecs: list[SpanCodec] = [codec_for(span.runs, settings) for span in space.spans]
        self.payloads: list[bytes] = []

    def encode(self, difference: F32, owed: F32) -> None:
        self.payloads = [
            codec.encode(
                difference[span.start : span.stop],
                difference[span.start : span.stop],
                plus=owed[span.start : span.stop],
            )
            for span, codec in zip(self.space.spans, self.codecs, strict=True)
        ]

    def add(self, target: F32) -> None:
        for span, codec, payload in zip(self.space.spans, self.codecs, self.payloads, strict=True):
            codec.add(payload, target[span.start : span.stop], -0.25)

    @property
    def bits(self) -> float:
        return 8 * sum(map(len, self.payloads)) / self.space.parameters


def seconds(what: Callable[[], object]) -> float:
    began = time.thread_time()
    what()
    return time.thread_time() - began


def summed(values: list[float]) -> tuple[float, str]:
    return statistics.median(values), f"{min(values):.3g} to {max(values):.3g}"


def main() -> int:
    where = machine()
    torch.set_num_threads(1)
    load()
    space = Space.build([TensorSpec("weights", (VALUES,), "float32")])
    rng = np.random.default_rng(0)
    difference: F32 = rng.standard_normal(space.size, dtype=np.float32) * np.float32(1e-3)
    owed: F32 = rng.standard_normal(space.size, dtype=np.float32) * np.float32(2e-3)
    work, target = np.empty_like(difference), np.zeros_like(difference)
    pushes = [Push(name, space, _settings(method, ratio, bits)) for name, method, ratio, bits in WAYS]
    spent: dict[str, list[float]] = {}
    copies: list[float] = []

    def note(name: str, took: float, copy: float) -> None:
        spent.setdefault(name, []).append(took / copy)

    kept = round(VALUES * 205 / 4096)
    for number in range(ROUNDS + 1):
        copy = statistics.median(seconds(lambda: np.copyto(work, difference)) for _ in range(3))
        round_: list[tuple[str, float]] = []
        for push in pushes:
            np.copyto(work, difference)
            round_.append((push.name, seconds(partial(push.encode, work, owed))))
            round_.append((f"apply {push.name}", seconds(partial(push.add, target))))
        if number in (1, 2, 3):  # half a minute for all three
            magnitudes = np.abs(difference)
            tensor = torch.from_numpy(magnitudes)
            round_.append(("torch.topk", seconds(partial(torch.topk, tensor, kept, sorted=False))))
            round_.append(("argpartition", seconds(partial(np.argpartition, magnitudes, VALUES - kept))))
        copy = statistics.median([copy, *(seconds(lambda: np.copyto(work, difference)) for _ in range(2))])
        if number:  # the first round touches all memory for the first time
            copies.append(copy)
            for name, took in round_:
                note(name, took, copy)
    rivals = {name: round(statistics.median(spent[name]), 1) for name in ("torch.topk", "argpartition")}
    rows = [_cost_row(push, spent, rivals) for push in pushes]
    rows += [_apply_row(push, spent) for push in pushes]
    rows += [_size_row(push) for push in pushes if push.settings.method == "topk"]
    on_gpu, said = rows_of_a_gpu()
    said_first = (
        f"{VALUES:,} values in {len(space.spans)} spans, Gaussian, {ROUNDS} interleaved rounds; one copy of the vector "
        f"took {1000 * statistics.median(copies):.1f} ms ({1000 * min(copies):.1f} to {1000 * max(copies):.1f}). CPU "
        f"time of one thread. The rivals' figures are selection alone, without residual, quantisation and packing."
    )
    notes = [
        said_first,
        *(f"{name}: {summed(values)[1]} copies" for name, values in sorted(spent.items())),
        said,
    ]
    publish("compression", [*rows, *on_gpu], where, notes)
    return 0


WAYS: list[tuple[str, MethodName, float, ValueBits]] = [
    ("64 of 4,096, 2 bits", "topk", 1 / 64, 2),
    ("205 of 4,096, 2 bits", "topk", 0.05, 2),
    ("205 of 4,096, 1 bit", "topk", 0.05, 1),
    ("205 of 4,096, 3 bits", "topk", 0.05, 3),
    ("205 of 4,096, 4 bits", "topk", 0.05, 4),
    ("205 of 4,096, 8 bits", "topk", 0.05, 8),
    ("205 of 4,096, 16 bits", "topk", 0.05, 16),
    ("205 of 4,096, 32 bits", "topk", 0.05, 32),
    ("dense, 8 bits", "quantised", 1.0, 8),
    ("dense, 4 bits", "quantised", 1.0, 4),
    ("dense, 1 bit", "quantised", 1.0, 1),
]


def _settings(method: MethodName, ratio: float, value_bits: ValueBits) -> Compression:
    return Compression(method=method, ratio=ratio, value_bits=value_bits)


def _cost_row(push: Push, spent: dict[str, list[float]], rivals: dict[str, float]) -> Row:
    middle, extent = summed(spent[push.name])
    goal = f"<= {MOST:g} (goal {GOAL:g}); {extent}"
    return Row(push.name, "residual, selection, packing", middle, "copies", goal, middle <= MOST, rivals, 1.0)


def _apply_row(push: Push, spent: dict[str, list[float]]) -> Row:
    middle, extent = summed(spent[f"apply {push.name}"])
    return Row(push.name, "checked and added at a server", middle, "copies", f"shown; {extent}", True, {}, 1.0)


def _size_row(push: Push) -> Row:
    kept = round(push.settings.ratio * 4096) / 4096
    least = entropy(kept) + kept * push.settings.value_bits
    usual = abs(push.settings.ratio - 1 / 64) < 1e-9
    goal = "<= 0.1505, within 2 % of entropy" if usual else "shown"
    return Row(push.name, "bits a parameter", push.bits, "bits", goal, not usual or push.bits <= 0.1505, {}, least)


if __name__ == "__main__":
    sys.exit(main())
