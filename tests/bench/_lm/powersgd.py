"""PowerSGD (Vogels et al., 1905.13727) as torch's communication hook runs it: error feedback and a warm start.

All workers' gradients of one step, all lanes at once: M = g + e; P = mean M Q, orthonormal; Q = mean M'P; every worker
takes P Q' and keeps M - P Q'. Tensors of one dimension go dense.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch

from deepseek_runtime.space import Segment, Space


class PowerSGD:
    """mean() turns the workers' gradients into what every worker steps with.

    bytes_up: what one worker sends in a step, in float32; it gets as much back.
    """

    def __init__(self, space: Space, rank: int, lanes: int, workers: int, device: torch.device) -> None:
        self._rank = rank
        groups: dict[tuple[int, ...], list[Segment]] = defaultdict(list)
        for segment in space.segments:
            if len(segment.shape) == 2:
                groups[segment.shape].append(segment)
        self._groups = list(groups.values())
        self._errors = torch.zeros((workers, lanes, space.size), device=device)
        generator = torch.Generator(device=device).manual_seed(0)
        self._q = [
            torch.randn((lanes * len(group), group[0].shape[1], rank), device=device, generator=generator)
            for group in self._groups
        ]
        matrices = sum(len(group) * rank * sum(group[0].shape) for group in self._groups)
        vectors = sum(one.size for one in space.segments if len(one.shape) < 2)
        self.bytes_up = 4 * (matrices + vectors)

    def mean(self, gradients: Sequence[torch.Tensor]) -> torch.Tensor:
        """gradients: [lanes, size] a worker, overwritten. Returns [lanes, size]."""
        for gradient, error in zip(gradients, self._errors, strict=True):
            gradient.add_(error)
        result = torch.stack(list(gradients)).mean(0)
        for number, group in enumerate(self._groups):
            rows = [_matrices(gradient, group) for gradient in gradients]
            middle = _matrices(result, group)
            p = _orthonormal(torch.bmm(middle, self._q[number]))
            q = torch.bmm(middle.transpose(1, 2), p)
            self._q[number] = q
            agreed = torch.bmm(p, q.transpose(1, 2))
            for worker, row in enumerate(rows):
                _put(self._errors[worker], group, row - agreed)
            _put(result, group, agreed)
        return result


def _matrices(values: torch.Tensor, group: Sequence[Segment]) -> torch.Tensor:
    """[lanes * len(group), *shape]"""
    parts = [values[:, one.offset : one.stop].view(len(values), *one.shape) for one in group]
    return torch.stack(parts, 1).flatten(0, 1)


def _put(values: torch.Tensor, group: Sequence[Segment], matrices: torch.Tensor) -> None:
    each = matrices.view(len(values), len(group), *matrices.shape[1:])
    for place, one in enumerate(group):
        values[:, one.offset : one.stop].view(len(values), *one.shape).copy_(each[:, place])


def _orthonormal(p: torch.Tensor) -> torch.Tensor:
    """Gram-Schmidt over the columns, as the hook does it."""
    columns: list[torch.Tensor] = []
    for index in range(p.shape[2]):
        column = p[:, :, index]
        for other in columns:
            column = column - (column * other).sum(1, keepdim=True) * other
        columns.append(column / (column.norm(dim=1, keepdim=True) + 1e-8))
    return torch.stack(columns, 2)
