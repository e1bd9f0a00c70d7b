"""FP32 masters in host memory (`precision.masters: host`): the device holds what forward and backward read, no more.

    device   weights of the layers that autocast casts anyway, in the type it would cast them to; other parameters
             (norms, embeddings, what is tied to one) in float32, as autocast reads them; gradients in the same types
    host     masters, gradients in float32 and unscaled, and whatever the optimizer keeps: it steps there

So a forward and backward give what they give under autocast with masters on the device, bit for bit, and 2 + 2 bytes a
weight on the device take the place of 16 and a cast copy (ZeRO-Offload's division, Ren et al., 2101.06840). Beside a
GPU masters and gradients are pinned. The price is a transfer each way and an optimizer on the CPU at each step. Outside
autocast such a layer takes inputs of its own type only.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

CAST: Final = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
"""Layers all of whose parameters autocast casts."""

ALIGNMENT: Final = 64
"""Elements: matrix kernels are fast on weights that begin at multiples of 16 bytes."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A parameter and its places: master and gradient on the host, `device`: its own on the device."""

    parameter: torch.Tensor
    master: torch.Tensor
    gradient: torch.Tensor
    device: torch.Tensor


class HostMasters:
    """Of `trained`, parameters of `model` on `device`; compute: what autocast casts to, or float32.

    Left as they are: parameters of other types than float32, and those that share their memory with another tensor.
    """

    def __init__(
        self, model: nn.Module, trained: Sequence[torch.Tensor], device: torch.device, compute: torch.dtype
    ) -> None:
        self._device = device
        self._casts = compute != torch.float32
        self._full = False
        shared = _shared(model)
        kept = [one for one in trained if one.dtype == torch.float32 and id(one) not in shared]
        low_ids = _cast_alone(model) if self._casts else set()
        self._others = [one for one in trained if one.dtype != torch.float32 or id(one) in shared]
        low = [one for one in kept if id(one) in low_ids]
        rest = [one for one in kept if id(one) not in low_ids]
        self._low_size, size = _extent(low), _extent(low) + _extent(rest)
        pinned = device.type == "cuda"
        self._masters, gradients = (torch.zeros(size, pin_memory=pinned and size > 0) for _ in range(2))
        self._staged = torch.zeros(self._low_size, dtype=compute, pin_memory=pinned and self._low_size > 0)
        self._low = torch.zeros(self._low_size, dtype=compute, device=device)
        self._rest = torch.zeros(size - self._low_size, device=device)
        places = [(0, self._low, low), (self._low_size, self._rest, rest)]
        self._kept: list[_Kept] = []
        for begin, on_device, parameters in places:
            offset = 0
            for parameter in parameters:
                here, there = _view(on_device, offset, parameter), begin + offset
                master = _view(self._masters, there, parameter)
                self._kept.append(_Kept(parameter, master, _view(gradients, there, parameter), here))
                offset += _aligned(parameter.numel())
        self._of = {id(one.parameter): one.master for one in self._kept}
        for one in self._kept:
            one.master.copy_(one.parameter.detach())
        self.publish()

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """The master of a parameter; whatever has none is its own."""
        return self._of.get(id(tensor), tensor)

    def settle(self) -> None:
        """Waits until the device has read what `publish` gave it: before anybody writes to a master."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def publish(self) -> None:
        """Gives the device the masters' values, and the module the device's tensors."""
        if self._full:
            for one in self._kept:
                one.parameter.data = one.master.to(self._device, copy=True)
            return
        self._staged.copy_(self._masters[: self._low_size])
        self._low.copy_(self._staged, non_blocking=True)
        self._rest.copy_(self._masters[self._low_size :], non_blocking=True)
        for one in self._kept:
            one.parameter.data = one.device

    def use(self, *, full: bool) -> None:
        """full: the module computes in float32 from now on: evaluation, the last try of a batch."""
        full = full and self._casts
        if full != self._full:
            self._full = full
            self.publish()

    @contextmanager
    def stepping(self, unscale: float, *, changes: bool = True) -> Iterator[None]:
        """Inside, the module's parameters are the masters, and their gradients on the host, times `unscale`.

        Afterwards gradients are dropped, and the device has the new values, if this `changes` the masters.
        """
        for other in self._others:
            if other.grad is not None:
                other.grad.mul_(unscale)
        gradients = [one.parameter.grad for one in self._kept]
        for one, gradient in zip(self._kept, gradients, strict=True):
            one.parameter.grad = None
            if gradient is not None and not gradient.is_sparse:
                # In float16 the unscaled gradient would vanish: cast first.
                one.gradient.copy_(gradient.float().mul(unscale), non_blocking=True)
        with self._swapped(changes):
            for one, gradient in zip(self._kept, gradients, strict=True):
                if gradient is not None and gradient.is_sparse:
                    one.parameter.grad = gradient.to("cpu", torch.float32) * unscale
                elif gradient is not None:
                    one.parameter.grad = one.gradient
            del gradients
            yield

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Inside, the module's parameters are the masters: an optimizer that loads its state casts it to them."""
        with self._swapped(False):
            yield

    @contextmanager
    def _swapped(self, changes: bool) -> Iterator[None]:
        self.settle()
        before = [one.parameter.data for one in self._kept]
        for one in self._kept:
            one.parameter.grad = None
            one.parameter.data = one.master
        try:
            yield
        finally:
            for one, data in zip(self._kept, before, strict=True):
                one.parameter.grad = None
                one.parameter.data = data
            if changes:
                self.publish()


def _cast_alone(model: nn.Module) -> set[int]:
    """ids of parameters that belong to layers of CAST, and to no other."""
    inside: set[int] = set()
    outside: set[int] = set()
    for module in model.modules():
        own = {id(one) for one in module._parameters.values() if one is not None}
        (inside if type(module) in CAST else outside).update(own)
    return inside - outside


def _shared(model: nn.Module) -> set[int]:
    """ids of parameters whose memory other tensors of the model lie in, too: given their own, they would part."""
    tensors = {id(one): one for one in (*model.parameters(), *model.buffers())}
    owners = Counter(one.untyped_storage().data_ptr() for one in tensors.values())
    return {key for key, one in tensors.items() if owners[one.untyped_storage().data_ptr()] > 1}


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _extent(parameters: Sequence[torch.Tensor]) -> int:
    return sum(_aligned(one.numel()) for one in parameters)


def _view(vector: torch.Tensor, offset: int, like: torch.Tensor) -> torch.Tensor:
    return vector[offset : offset + like.numel()].view(like.shape)
