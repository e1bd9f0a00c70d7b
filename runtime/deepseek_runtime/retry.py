"""What a batch's forward changes beside gradients, kept so that the batch can be run again as if for the first time."""

from dataclasses import dataclass

import torch
from torch import nn

from deepseek_runtime.random_state import RandomState


@dataclass(slots=True)
class _Saved:
    tensor: torch.Tensor
    version: int
    copy: torch.Tensor


class BatchUndo:
    """Buffers (BatchNorm's statistics, counters, all types) and random states as they were before a batch.

    A buffer that nobody has written to since the last batch is not copied again (torch counts writes), so constant
    tables cost nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        self._places = [(module, key) for module in model.modules() for key in module._buffers]
        self._saved: dict[int, _Saved] = {}
        self._random: RandomState | None = None

    def take(self, *, random: bool) -> None:
        self._random = RandomState.take() if random else None
        for number, (module, key) in enumerate(self._places):
            tensor = module._buffers.get(key)
            if tensor is None:
                self._saved.pop(number, None)
                continue
            saved = self._saved.get(number)
            if saved is None or saved.tensor is not tensor or saved.version != tensor._version:
                self._saved[number] = _Saved(tensor, tensor._version, tensor.detach().clone())

    def put_back(self) -> None:
        if self._random is not None:
            self._random.put_back()
        with torch.no_grad():
            for number, (module, key) in enumerate(self._places):
                saved = self._saved.get(number)
                if saved is None:
                    continue
                if saved.tensor._version != saved.version:
                    saved.tensor.copy_(saved.copy)
                    saved.version = saved.tensor._version
                module._buffers[key] = saved.tensor
