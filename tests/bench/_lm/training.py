"""Gradients and AdamW steps of all lanes at once; on a GPU as CUDA graphs, for a step is 400 small kernels."""

from collections.abc import Callable, Sequence
from typing import Final

import torch

from bench._lm import model
from bench._lm.data import Corpus
from deepseek_runtime.updates import CLIP_EPSILON

EPSILON: Final = 1e-8
CLIP: Final = 1.0


class Trainer:
    """Static tensors, which the graphs read and write; [lanes, size] and float32 unless said.

    y: weights. m, v: AdamW's moments, t: its steps so far [1]. g: gradient. loss: [lanes].
    lr, beta1, beta2: [lanes, 1]. starts: where each window begins, int64 [lanes, batch_size].
    """

    def __init__(self, gpt: model.GPT, corpus: Corpus, lanes: int, batch_size: int, fast: model.Compiled) -> None:
        self.gpt, self.corpus, self.lanes, self.batch_size = gpt, corpus, lanes, batch_size
        self.space = gpt.space()
        self.device = corpus.text.device
        self._gpu = self.device.type == "cuda"
        self._fast = fast

        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, device=self.device)

        size = self.space.size
        self.y, self.m, self.v, self.g = (zeros(lanes, size) for _ in range(4))
        self.loss, self.t, self.lr = zeros(lanes), zeros(1), zeros(lanes, 1)
        self.beta1, self.beta2 = zeros(lanes, 1), zeros(lanes, 1)
        self.starts = torch.zeros((lanes, batch_size), dtype=torch.int64, device=self.device)
        self._compute = torch.bfloat16 if self._gpu else torch.float32
        self._low = torch.zeros((lanes, size), dtype=self._compute, device=self.device)
        self._adamw = torch.compile(adamw, dynamic=False) if self._gpu else adamw
        self._graphs: dict[str, Callable[[], None]] = {}

    def gradient(self, clipped: bool) -> None:
        """g = the gradient of each lane's batch at y."""
        self._run("clipped" if clipped else "gradient", lambda: self._gradient(clipped))

    def step(self) -> None:
        """One AdamW step of each lane, its gradient clipped at global norm 1."""
        self._run("step", self._step)

    def optimize(self) -> None:
        """AdamW's part of a step: y, m, v from g, which is clipped first."""
        self._run("optimize", self._optimize)

    def evaluate(self, weights: torch.Tensor, windows: torch.Tensor) -> list[float]:
        """Mean loss of each lane's `weights` over held-out windows [count, context + 1]."""
        self._low.copy_(weights)
        named = self._views(grad=False)
        total = torch.zeros(self.lanes, device=self.device, dtype=torch.float64)
        with torch.no_grad():
            for piece in torch.split(windows, 64):
                every = piece[None].expand(self.lanes, -1, -1)
                total += self.gpt.loss(named, every, model.plain()).double() * len(piece)
        return [float(one) for one in (total / len(windows)).tolist()]

    def _views(self, grad: bool) -> dict[str, torch.Tensor]:
        """Leaves of their own: the gradient of a slice would be a zero tensor of full length."""
        return {
            one.name: self._low[:, one.offset : one.stop].view(self.lanes, *one.shape).detach().requires_grad_(grad)
            for one in self.space.segments
        }

    def _gradient(self, clipped: bool) -> None:
        self._low.copy_(self.y)
        named = self._views(grad=True)
        losses = self.gpt.loss(named, self.corpus.windows(self.starts), self._fast)
        grads = torch.autograd.grad(losses.sum(), list(named.values()))
        for segment, grad in zip(self.space.segments, grads, strict=True):
            self.g[:, segment.offset : segment.stop].view(self.lanes, *segment.shape).copy_(grad)
        self.loss.copy_(losses.detach())
        if clipped:
            self.g.mul_(self._coefficient())

    def _coefficient(self) -> torch.Tensor:
        norm = torch.linalg.vector_norm(self.g, dim=1, keepdim=True)
        return torch.clamp(CLIP / (norm + CLIP_EPSILON), max=1.0)

    def _step(self) -> None:
        self._gradient(clipped=False)
        self._optimize()

    def _optimize(self) -> None:
        self.t.add_(1.0)
        self._adamw(self.y, self.m, self.v, self.g, self._coefficient(), self.lr, self.beta1, self.beta2, self.t)

    def _run(self, name: str, do: Callable[[], None]) -> None:
        if not self._gpu:
            do()
            return
        if name not in self._graphs:
            self._graphs[name] = self._capture(do)
        self._graphs[name]()

    def _capture(self, do: Callable[[], None]) -> Callable[[], None]:
        """What the warm-up changes is put back."""
        kept = [(one, one.clone()) for one in (self.y, self.m, self.v, self.g, self.t)]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                do()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            do()
        for one, value in kept:
            one.copy_(value)
        return graph.replay


def adamw(
    y: torch.Tensor,
    m: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    coefficient: torch.Tensor,
    lr: torch.Tensor,
    beta1: torch.Tensor,
    beta2: torch.Tensor,
    t: torch.Tensor,
) -> None:
    """torch.optim.AdamW without weight decay, in place; t: the number of this step, from 1."""
    g = g * coefficient
    m.copy_(m * beta1 + g * (1 - beta1))
    v.copy_(v * beta2 + g * g * (1 - beta2))
    y.sub_(lr * direction(m, v, beta1, beta2, t))


def direction(
    m: torch.Tensor, v: torch.Tensor, beta1: torch.Tensor, beta2: torch.Tensor, t: torch.Tensor
) -> torch.Tensor:
    """What AdamW's step is lr times of."""
    return (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + EPSILON)


def column(values: Sequence[float], device: torch.device) -> torch.Tensor:
    """[lanes, 1]"""
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None]
