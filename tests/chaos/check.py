"""What must hold of a finished job of task `tally`, read from its last checkpoint."""

import numpy as np

from deepseek_operator.state_folder import StateFolder
from deepseek_runtime.checkpoint.choose import find_checkpoint
from deepseek_runtime.checkpoint.spans import read_span
from deepseek_runtime.ranges import RangePlan
from deepseek_runtime.space import Space


def violations(folder: StateFolder, dense: bool, uri: str | None = None) -> list[str]:
    """Empty when in every row of every span each sample counts exactly as often as the ranges say: for Top-K, less
    exactly the residuals that were booked as lost. uri: of the checkpoints, where they are not in the folder."""
    store, choice = find_checkpoint(uri or str(folder.checkpoints))
    index = choice.index
    space = Space.from_json(index.space)
    (segment,) = space.segments
    rows, width = segment.shape
    plan = RangePlan(index.samples, index.batch_size, index.local_steps, index.steps_total, index.seed)
    wrong: list[str] = []
    if index.step != plan.steps:
        wrong.append(f"the last checkpoint is of step {index.step} of {plan.steps}")
    for part in index.parts:
        data = read_span(store, part.ref, part.span)
        if data.applied.watermark != plan.count or data.applied.above:
            wrong.append(f"span {part.span}: ranges up to {data.applied.watermark} of {plan.count} are in")
        expected = np.zeros(width)
        for g in range(plan.count):
            if g not in data.skipped:
                for batch in plan.batches(g):
                    expected[batch] += 1
        span = space.spans[part.span]
        first, last = span.start // width, min(span.stop, rows * width) // width
        counted = -data.theta[: (last - first) * width].reshape(-1, width).astype(np.float64)
        missing = expected[None, :] - counted
        booked = data.lost + sum(data.residuals.values())
        if (missing < 0).any():
            wrong.append(f"span {part.span}: a sample counts {-missing.min():g} times too often")
        if dense and missing.any():
            wrong.append(f"span {part.span}: {np.count_nonzero(missing)} counts are too low by up to {missing.max():g}")
        if not dense and abs(missing.sum() - booked) > 1e-6 * max(1.0, booked):
            wrong.append(f"span {part.span}: {missing.sum():g} is missing, {booked:g} is booked as lost")
    store.close()
    return wrong
