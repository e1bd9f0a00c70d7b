"""Top-K of each chunk with a sign and two magnitudes, on lanes of whole parameter vectors, in torch.

The same values as compression/topk_numpy.py keeps, the same levels, and the same number of bytes as the product's
codec makes of them; tests/unit/bench/test_lm_sparse.py holds the two against each other.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from deepseek_runtime.compression.form import (
    COUNT_BITS,
    ESCAPE,
    LARGEST_UNIT,
    STEP_RICE,
    TOP_RICE,
    UNIT_BITS,
    UNIT_SHIFT,
    keep,
    rice_parameter,
)
from deepseek_runtime.compression.header import HEADER
from deepseek_runtime.space import Space


class Sent(NamedTuple):
    values: torch.Tensor
    """[lanes, size]: what the receiver adds; values - this is the residual."""
    sizes: torch.Tensor
    """int64 [lanes]: bytes of all spans' payloads."""


class Codec:
    """ratios: one a lane; None: dense, in float32 (the lane's residual is 0)."""

    def __init__(self, space: Space, ratios: Sequence[float | None], device: torch.device) -> None:
        self._chunk = space.chunk
        runs = [(span.start + run.start, span.start + run.stop, run.kind) for span in space.spans for run in span.runs]
        if any(kind == "buffers" for _, _, kind in runs):
            raise ValueError("models with buffers are not simulated")
        self._chunks = space.size // space.chunk
        self.dense = torch.tensor([ratio is None for ratio in ratios], device=device)[:, None]
        limits = np.zeros((len(ratios), self._chunks), np.int64)
        full = [keep(1.0 if ratio is None else ratio, space.chunk) for ratio in ratios]
        of_run = np.full(self._chunks, len(runs))
        small = np.zeros(self._chunks, bool)
        for number, (start, stop, kind) in enumerate(runs):
            first, last = start // space.chunk, -(-stop // space.chunk)
            if kind == "small":
                small[first:last] = True
                continue
            of_run[first:last] = number
            for lane, ratio in enumerate(ratios):
                limits[lane, first:last] = full[lane]
                if ratio is not None and stop % space.chunk:
                    limits[lane, last - 1] = keep(ratio, stop % space.chunk)
        self._top = (
            0
            if all(ratio is None for ratio in ratios)
            else max(keep(ratio, space.chunk) for ratio in ratios if ratio is not None)
        )
        elements = sum(stop - start for start, stop, _ in runs)
        narrow = sum(stop - start for start, stop, kind in runs if kind == "small")
        self._runs = len(runs)
        self._fixed = HEADER.size * len(runs) + 2 * narrow
        self.dense_size = HEADER.size * len(runs) + 4 * elements
        """Bytes of a whole copy, as a first pull and a last push are."""
        self._limits = torch.from_numpy(limits).to(device)
        self._full = torch.tensor(full, device=device)[:, None]
        self._rice = torch.tensor([rice_parameter(one, space.chunk) for one in full], device=device)[:, None, None]
        self._of_run = torch.from_numpy(of_run).to(device)
        self._small = torch.from_numpy(small).to(device)[None, :, None]

    def encode(self, values: torch.Tensor) -> Sent:
        """values: [lanes, size], left as they are."""
        if self._top == 0:
            sizes = torch.full((len(values),), self.dense_size, dtype=torch.int64, device=values.device)
            return Sent(values.clone(), sizes)
        rows = values.view(len(values), self._chunks, self._chunk)
        magnitudes, places = _largest(rows, self._top)
        rank = torch.arange(self._top, device=values.device)
        kept = (rank < self._limits[:, :, None]) & (magnitudes > 0)
        count = kept.sum(2, keepdim=True)
        upper = kept & (rank < (count + 1) // 2)
        lower = kept & ~upper
        top = _unit(magnitudes, upper)
        # One value alone: the lower level is the upper one.
        bottom = torch.where(count > 1, _unit(magnitudes, lower), top)
        levels = (torch.where(upper, top, bottom) << UNIT_SHIFT).view(torch.float32) * kept
        signed = torch.copysign(levels, rows.gather(2, places))
        sparse = torch.zeros_like(rows).scatter_(2, places, signed)
        sparse = torch.where(self._small, rows.bfloat16().float(), sparse).flatten(1)
        sizes = self._sizes(places, kept, count.squeeze(2), top.squeeze(2), bottom.squeeze(2))
        return Sent(torch.where(self.dense, values, sparse), torch.where(self.dense[:, 0], self.dense_size, sizes))

    def _sizes(
        self,
        places: torch.Tensor,
        kept: torch.Tensor,
        count: torch.Tensor,
        top: torch.Tensor,
        bottom: torch.Tensor,
    ) -> torch.Tensor:
        """Bits of each chunk as topk_numpy.py says, each run filled up to whole bytes."""
        beyond = self._chunk
        ordered = torch.where(kept, places, beyond).sort(dim=2).values
        before = torch.cat([torch.full_like(ordered[:, :, :1], -1), ordered[:, :, :-1]], 2)
        gaps = torch.where(ordered < beyond, ordered - before - 1, 0)
        quotients = (gaps >> self._rice).sum(2)
        form = torch.where(count == self._full, 1, torch.where(count == 0, 2, 2 + COUNT_BITS))
        # A top level is sent as the difference to that of the run's last chunk that has one.
        number = torch.arange(self._chunks, device=places.device)
        some = torch.where(count > 0, number, -1).cummax(1).values
        last = torch.cat([torch.full_like(some[:, :1], -1), some[:, :-1]], 1)
        same = (last >= 0) & (self._of_run[last.clamp(min=0)] == self._of_run)
        change = top - torch.where(same, top.gather(1, last.clamp(min=0)), 0)
        levels = _unit_bits((change << 1) ^ (change >> 31), TOP_RICE) + _unit_bits(top - bottom, STEP_RICE[2])
        bits = form + quotients + torch.where(count > 0, count * (1 + self._rice[:, :, 0] + 2) + levels, 0)
        by_run = torch.zeros((len(bits), self._runs + 1), dtype=torch.int64, device=bits.device)
        by_run.index_add_(1, self._of_run, bits)
        return ((by_run[:, :-1] + 7) // 8).sum(1) + self._fixed


def _largest(rows: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Magnitudes and places of the `count` largest of each row, descending, the lower place first among equals: those
    are many, because two magnitudes a chunk are all that a push adds to theta - p."""
    width = rows.shape[2]
    places = torch.arange(width - 1, -1, -1, device=rows.device)
    keys = ((rows.view(torch.int32) & 0x7FFFFFFF).long() * width + places).topk(count, dim=2).values
    return (keys // width).int().view(torch.float32), width - 1 - keys % width


def _unit(magnitudes: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """int32 [..., 1]: the mean in the units that levels are sent in."""
    total = (magnitudes.double() * chosen).sum(2, keepdim=True)
    mean = (total / chosen.sum(2, keepdim=True).clamp(min=1)).float()
    return ((mean.view(torch.int32) + (1 << (UNIT_SHIFT - 1))) >> UNIT_SHIFT).clamp(max=LARGEST_UNIT)


def _unit_bits(difference: torch.Tensor, rice: int) -> torch.Tensor:
    quotient = difference >> rice
    return torch.where(quotient < ESCAPE, quotient + 1 + rice, ESCAPE + 1 + UNIT_BITS)
