"""The rows of bench-compression that need a GPU: residual, selection and packing on the card, beside torch.topk."""

import statistics
from collections.abc import Callable

import torch

from bench._table import Row

ROUNDS = 9
READINGS = 5.0
"""Of the vector, at most."""


def rows_of_a_gpu(sizes: tuple[int, ...] = (25_000_000, 400_000_000)) -> tuple[list[Row], str]:
    """Rows, and a sentence that says on which card, or why there are none."""
    if not torch.cuda.is_available():
        return [], "No GPU here: its rows are left out."
    try:
        from deepseek_runtime.gpu_topk import GpuTopK
    except ImportError as error:
        return [], f"No triton here ({error}): the rows of a GPU are left out."
    rows = [
        row
        for size in sizes
        for name, ratio in (("64 of 4,096", 1 / 64), ("205 of 4,096", 0.05))
        for row in _rows(GpuTopK, size, name, ratio)
    ]
    card = torch.cuda.get_device_name()
    return (
        rows,
        f"{card}: medians of {ROUNDS} interleaved rounds, by CUDA events; a reading is torch.sum of the vector.",
    )


def _rows(make: Callable[..., object], size: int, name: str, ratio: float) -> list[Row]:
    device = torch.device("cuda")
    torch.manual_seed(0)
    values, owed = (torch.randn(size, device=device) * scale for scale in (1e-3, 2e-3))
    residual = torch.empty_like(values)
    coder = make(size, ratio, 2, device)
    kept = round(size * ratio)
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: coder.run(values, owed, residual),  # type: ignore[attr-defined]
        "payload": lambda: coder.encode(values, owed, residual),  # type: ignore[attr-defined]
        "reading": lambda: torch.sum(values),
        "torch.topk": lambda: torch.topk(values.abs(), kept, sorted=False),
    }
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(ROUNDS + 2):
        for way, what in ways.items():
            took = _milliseconds(what)
            if number > 1:
                spent[way].append(took)
    middle = {way: statistics.median(times) for way, times in spent.items()}
    readings = middle["ours"] / middle["reading"]
    extent = f"{min(spent['ours']):.3f} to {max(spent['ours']):.3f} ms"
    goal = f"<= {READINGS:g} readings and ahead of torch.topk; {extent}"
    holds = readings <= READINGS and middle["ours"] < middle["torch.topk"]
    case = f"GPU, {size:,} values, {name}, 2 bits"
    rival = {"torch.topk": round(middle["torch.topk"], 4)}
    return [
        Row(case, "residual, selection, packing", middle["ours"], "ms", goal, holds, rival, middle["reading"]),
        Row(case, "and the payload in host memory", middle["payload"], "ms", "shown", True, {}, middle["reading"]),
    ]


def _milliseconds(what: Callable[[], object]) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    begin.record()
    what()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end))
