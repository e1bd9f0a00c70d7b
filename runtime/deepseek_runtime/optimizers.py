"""The manifest's optimizer as a torch optimizer, and what a session asks of any optimizer."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from deepseek_runtime.contract.config import Optimizer
from deepseek_runtime.contract.exit_codes import USER_CODE
from deepseek_runtime.feed import JobRefused


def build_optimizer(config: Optimizer, model: nn.Module, *, on_host: bool = False) -> torch.optim.Optimizer:
    """`training.optimizer` over all trainable parameters of `model`, in one group. Raises JobRefused without any.

    on_host: it will step on the CPU (`precision.masters: host`), where one fused pass is several times faster.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise JobRefused(USER_CODE, "ModelRefused", "the model has no parameter to train (none requires a gradient)")
    if config.name == "sgd":
        return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    fused = True if on_host else None
    return kind(parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=fused)


def has_scheduler(optimizer: torch.optim.Optimizer) -> bool:
    """Whether one of torch's learning-rate schedulers was attached: they mark `step` and each group."""
    marked = getattr(optimizer.step, "_wrapped_by_lr_sched", False)
    return bool(marked) or any("initial_lr" in group for group in optimizer.param_groups)


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    """The learning rate of each group."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def set_rates(optimizer: torch.optim.Optimizer, values: Iterable[float]) -> None:
    for group, value in zip(optimizer.param_groups, values, strict=True):
        _set_rate(group, value)


def _set_rate(group: dict[str, Any], value: float) -> None:
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(value)
    else:
        group["lr"] = value


def group_of(optimizer: torch.optim.Optimizer | None) -> dict[int, int]:
    """id(parameter) -> index of its group; empty without an optimizer."""
    if optimizer is None:
        return {}
    return {id(p): index for index, group in enumerate(optimizer.param_groups) for p in group["params"]}
