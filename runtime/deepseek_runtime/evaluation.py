"""Runs the user's evaluate: in eval mode, without gradients, in FP32, as the exported model would be."""

from collections.abc import Callable, Mapping
from numbers import Real

import torch
from torch import nn


def evaluate_model(model: nn.Module, evaluate: Callable[[nn.Module], Mapping[str, float]] | None) -> dict[str, float]:
    """The metrics; empty without `evaluate`. Each module's training mode is as before afterwards.

    Raises TypeError when `evaluate` returns anything but names and numbers.
    """
    if evaluate is None:
        return {}
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            metrics = evaluate(model)
    finally:
        for module, training in modes:
            module.training = training
    if not isinstance(metrics, Mapping):
        raise TypeError(f"evaluate(model) must return {{name: number}}, got {type(metrics).__name__}")
    return {str(name): _number(str(name), value) for name, value in metrics.items()}


def _number(name: str, value: object) -> float:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return float(value.detach())
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"evaluate(model) must return {{name: number}}, but {name!r} is {type(value).__name__}")
