"""Method `dgc`: Deep Gradient Compression (Lin 2018, 1712.01887), for `update.mode: gradient`.

What a few percent of a gradient's values leave behind is old when it is sent, and momentum added at the server would
count from then. So the momentum is the worker's (momentum correction): u = m u + g; e' = e + u - payload. Where
something was sent u becomes 0 as well (factor masking), or stale momentum would carry weights the old way. One
threshold decides over the whole vector (global Top-K), and the ratio falls from 1/4 to its own in the first steps
(warm-up), while gradients change fast. Local clipping is `optimizer.clipNorm`.

The servers' rule has no momentum then. Pure: u becomes what it is to be only when a push is applied.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from deepseek_runtime.compression.coding import F32, Cut, How
from deepseek_runtime.compression.form import keep

FIRST_RATIO: Final = 0.25
U32 = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Correction:
    """What config says of `dgc`. warmup_steps: in which the ratio falls, geometrically as in the paper."""

    momentum: float
    ratio: float
    warmup_steps: int

    def ratio_at(self, step: int) -> float:
        if step >= self.warmup_steps or self.ratio >= FIRST_RATIO:
            return self.ratio
        return FIRST_RATIO * float((self.ratio / FIRST_RATIO) ** (step / self.warmup_steps))


def one_threshold(total: F32, sent: Sequence[slice], ratio: float) -> Iterator[How]:
    """For each slice of `total` [n] how it is to be encoded, so that the largest keep(ratio, all) magnitudes of all
    slices together are sent; among equals those of the lower index.

    Exact, in two passes: a histogram of the floats' upper 16 bits says in which 1/128 octave the threshold lies, the
    magnitudes in that are sorted. What is not finite is left to `encode`, which refuses it.
    """
    pieces: list[U32] = [total[here].view(np.uint32) & np.uint32(0x7FFFFFFF) for here in sent]
    wanted = keep(ratio, sum(piece.size for piece in pieces))
    counts = sum((np.bincount(piece >> np.uint32(16), minlength=1 << 15) for piece in pieces), np.zeros(1, np.int64))
    reaching = np.cumsum(counts[::-1])[::-1]
    upper = int(np.flatnonzero(reaching >= wanted)[-1]) if reaching[0] >= wanted else 0
    above = int(reaching[upper + 1]) if upper + 1 < reaching.size else 0
    inside = np.sort(np.concatenate([piece[piece >> np.uint32(16) == upper] for piece in pieces]))[::-1]
    threshold = max(1, int(inside[wanted - above - 1]) if inside.size else 1)
    ties = wanted - above - int(np.count_nonzero(inside > threshold))
    for piece in pieces:
        equal = min(ties, int(np.count_nonzero(piece == threshold)))
        ties -= equal
        yield How(ratio, Cut(threshold, equal))


def masked(u: F32, before: F32, after: F32) -> F32:
    """Factor masking: u where nothing of `before` was sent (`after` is as it was), else 0."""
    return np.where(before == after, u, np.float32(0)).astype(np.float32, copy=False)
