"""A small network with everything that a session has to carry, and data for it."""

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset, default_collate

from deepseek_runtime.ranges import RangePlan
from deepseek_runtime.session import Session

VOCABULARY = 24
LENGTH = 6


class MixedNet(nn.Module):
    """BatchNorm, an embedding tied to the head, a frozen layer, and buffers of each type.

    int64 [N, 6] to logits [N, 24].
    """

    seen: torch.Tensor
    mask: torch.Tensor
    table: torch.Tensor

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.frozen = nn.Linear(width, width)
        self.frozen.requires_grad_(False)
        self.norm = nn.BatchNorm1d(width)
        self.mix = nn.Linear(width, width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("seen", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("mask", torch.ones(width, dtype=torch.bool))
        self.register_buffer("table", torch.linspace(0, 1, width), persistent=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen += len(ids)
        x = self.frozen(self.embedding(ids).mean(1)) + self.table
        x = functional.gelu(self.mix(self.norm(x) * self.mask))
        logits: torch.Tensor = self.head(x)
        return logits


def mixed_net(seed: int = 0) -> MixedNet:
    torch.manual_seed(seed)
    return MixedNet()


def two_groups(model: MixedNet) -> list[dict[str, object]]:
    """Parameter groups of different rates, as users write them; multiply with the optimizer's own lr."""
    return [
        {"params": [model.embedding.weight]},
        {"params": [*model.mix.parameters(), *model.norm.parameters()], "lr": 0.003, "weight_decay": 0.0},
    ]


def sequences(samples: int, seed: int = 1) -> TensorDataset:
    """Sequences [6] and a label that depends on them."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCABULARY, (samples, LENGTH), generator=generator)
    return TensorDataset(ids, ids.sum(1) % VOCABULARY)


def train(session: Session) -> None:
    """The user's loop."""
    for batch in session:
        session.backward(loss_of(session.model, batch))
        session.step()


def plainly(model: MixedNet, optimizer: torch.optim.Optimizer, samples: int, steps: int) -> list[float]:
    """The plain PyTorch loop, batches of 8 in the order of a job with seed 0; the losses."""
    data, plan = sequences(samples), RangePlan(samples, 8, 1, steps)
    losses = []
    for g in range(plan.count):
        for indices in plan.batches(g):
            loss = loss_of(model, default_collate([data[i] for i in indices]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses


def loss_of(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    ids, labels = batch
    return functional.cross_entropy(model(ids), labels)
