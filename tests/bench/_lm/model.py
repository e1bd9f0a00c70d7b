"""A byte-level GPT whose weights are one row a lane of a [lanes, space.size] tensor; no biases.

As tasks/bytelm's, but without biases: norms and biases go as dense bfloat16, and at this size 30,000 biases would be a
tenth of all bytes (most language models of today have none either).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from deepseek_runtime.space import Space, TensorSpec

Tensors = Sequence[torch.Tensor]


@dataclass(frozen=True, slots=True)
class GPT:
    """10,819,200 parameters by default; context in bytes."""

    layers: int = 6
    heads: int = 6
    width: int = 384
    context: int = 256

    def space(self) -> Space:
        """Where each tensor lies, by the product's own layout."""
        width = self.width
        shapes: list[tuple[str, tuple[int, ...]]] = [("bytes", (256, width)), ("places", (self.context, width))]
        for layer in range(self.layers):
            shapes += [
                (f"{layer}.norm1", (width,)),
                (f"{layer}.qkv", (3 * width, width)),
                (f"{layer}.out", (width, width)),
                (f"{layer}.norm2", (width,)),
                (f"{layer}.up", (4 * width, width)),
                (f"{layer}.down", (width, 4 * width)),
            ]
        shapes.append(("norm", (width,)))
        return Space.build(TensorSpec(name, shape, "float32") for name, shape in shapes)

    def initial(self, space: Space, seed: int) -> torch.Tensor:
        """[space.size]: GPT-2's initial weights, padding zero; the same on every machine."""
        generator = torch.Generator().manual_seed(seed)
        values = torch.zeros(space.size)
        for segment in space.segments:
            here = values[segment.offset : segment.stop]
            if segment.kind == "small":
                here.fill_(1.0)
                continue
            deep = segment.name.endswith(("out", "down"))
            here.normal_(0.0, 0.02 / math.sqrt(2 * self.layers) if deep else 0.02, generator=generator)
        return values

    def loss(self, weights: dict[str, torch.Tensor], windows: torch.Tensor, fast: "Compiled") -> torch.Tensor:
        """Mean loss of each lane, nats a byte: [lanes]. weights: [lanes, *shape]; windows: int64 [lanes, N, T+1]."""
        lanes, count, _ = windows.shape
        ids = windows[:, :, :-1].reshape(lanes, -1)
        positions = weights["places"].repeat(1, count, 1)
        # A product with one-hot rows instead of a gather: its gradient is a product too, in a fixed order.
        hot = functional.one_hot(ids, 256).to(positions.dtype)
        x = torch.bmm(hot, weights["bytes"]) + positions
        for layer in range(self.layers):
            parts = [weights[f"{layer}.{name}"] for name in ("norm1", "qkv", "out", "norm2", "up", "down")]
            x = fast.block(x, *parts, count, self.heads)
        return fast.head(x, weights["norm"], weights["bytes"], windows[:, :, 1:].reshape(lanes, -1))


@dataclass(frozen=True, slots=True)
class Compiled:
    """The two functions that training spends its time in, plain or through torch.compile."""

    block: Callable[..., torch.Tensor]
    head: Callable[..., torch.Tensor]


def plain() -> Compiled:
    return Compiled(_block, _head)


def compiled() -> Compiled:
    return Compiled(torch.compile(_block, dynamic=False), torch.compile(_head, dynamic=False))


def _norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    normed = functional.layer_norm(x.float(), x.shape[-1:])
    return (normed * weight.float()[:, None, :]).to(x.dtype)


def _linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.bmm(x, weight.transpose(1, 2))


def _block(
    x: torch.Tensor,
    norm1: torch.Tensor,
    qkv: torch.Tensor,
    out: torch.Tensor,
    norm2: torch.Tensor,
    up: torch.Tensor,
    down: torch.Tensor,
    count: int,
    heads: int,
) -> torch.Tensor:
    lanes, tokens, width = x.shape
    mixed = _linear(_norm(x, norm1), qkv).view(lanes * count, tokens // count, 3, heads, width // heads)
    q, k, v = mixed.permute(2, 0, 3, 1, 4)
    seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    x = x + _linear(seen.transpose(1, 2).reshape(lanes, tokens, width), out)
    return x + _linear(functional.gelu(_linear(_norm(x, norm2), up)), down)


def _head(x: torch.Tensor, norm: torch.Tensor, embedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    logits = _linear(_norm(x, norm), embedding).float()
    picked = logits.gather(2, targets[:, :, None]).squeeze(2)
    return (logits.logsumexp(2) - picked).mean(1)
