"""Between a torch module and the flat vector: which tensors travel where, and the copies in and out.

    trainable parameters, float buffers                     the vector of floats (space.py)
    integer buffers of up to 4,096 elements                 the vector of integers
    frozen parameters, bool, complex and large integer      `fixed`: written once by the initialiser
    buffers that the state dict leaves out                  nowhere: each worker's constructor makes them

Names are those of the state dict; tied tensors stand once, under their first name (`tied` has the others).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from deepseek_runtime.contract.exit_codes import USER_CODE
from deepseek_runtime.feed import Initial, JobRefused, Tensors
from deepseek_runtime.masters import HostMasters
from deepseek_runtime.optimizers import group_of
from deepseek_runtime.space import CHUNK, F32, I64, INTEGERS, SPANS, Space, SpaceError, TensorSpec

LARGEST_INTEGER_BUFFER: Final = CHUNK
"""Elements. Integers ride in the header of each push; larger ones are tables of constants."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor lives in the module. Looked up at each use: user code may assign a new tensor to a buffer."""

    name: str
    module: nn.Module
    key: str
    is_parameter: bool

    @property
    def tensor(self) -> torch.Tensor:
        found = (self.module._parameters if self.is_parameter else self.module._buffers)[self.key]
        if found is None:
            raise JobRefused(USER_CODE, "ModelChanged", f"{self.name} of the model became None during training")
        return found


@dataclass(slots=True)
class _Sorted:
    """The module's tensors by where they travel, in the module's own order."""

    parameters: list[_Place] = field(default_factory=list)
    buffers: list[_Place] = field(default_factory=list)
    integers: list[_Place] = field(default_factory=list)
    fixed: list[_Place] = field(default_factory=list)
    tied: dict[str, str] = field(default_factory=dict)


class ModelSpace:
    """The model's tensors bound to one vector [space.size] and one of integers [space.integers_size].

    Raises JobRefused (65) for a model that cannot be trained: nothing trainable, a complex or uninitialised
    parameter.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer | None, spans: int = SPANS) -> None:
        # torch.compile wraps the module and would put its own prefix before each name.
        compiled = getattr(model, "_orig_mod", None)
        self.model: nn.Module = compiled if isinstance(compiled, nn.Module) else model
        tensors = _sort(self.model)
        groups = group_of(optimizer)
        outside = max(groups.values(), default=-1) + 1

        def spec(place: _Place) -> TensorSpec:
            tensor = place.tensor
            role: Literal["parameter", "buffer"] = "parameter" if place.is_parameter else "buffer"
            group = groups.get(id(tensor), outside) if place.is_parameter else 0
            return TensorSpec(place.name, tuple(tensor.shape), str(tensor.dtype), role, group)

        floats = [*tensors.parameters, *tensors.buffers]
        try:
            self.space = Space.build(map(spec, floats), map(spec, tensors.integers), spans)
        except SpaceError as error:
            raise JobRefused(USER_CODE, "ModelRefused", str(error)) from error
        self.tied: Mapping[str, str] = tensors.tied
        self.names: Mapping[int, str] = {id(place.tensor): place.name for place in tensors.parameters}
        """id(parameter) -> name, trainable ones."""
        self.device = tensors.parameters[0].tensor.device
        self._fixed = tensors.fixed
        self._places = {place.name: place for place in (*floats, *tensors.integers)}
        self._exact = all(segment.dtype == "float32" for segment in self.space.segments)
        # What comes from a GPU goes through one pinned vector; the GPU has no copy of it beside the tensors.
        self._host = torch.from_numpy(self.room(self.space.size))
        self.masters: HostMasters | None = None
        """If set, x is written to and read from these; they pass it on to the module."""
        self._start: F32 = np.zeros(self.space.size, np.float32)

    @property
    def trained(self) -> list[torch.Tensor]:
        """The trainable parameters, each once."""
        return [place.tensor for place in self._places.values() if place.is_parameter]

    def room(self, size: int) -> F32:
        """A vector of zeros [size] in host memory, pinned beside a GPU: one that `write` need not copy first."""
        zeros: F32 = torch.zeros(size, pin_memory=self.device.type == "cuda").numpy()
        return zeros

    def write(self, x: F32, integers: I64) -> None:
        """Copies x into the model's tensors, in place; `difference` counts from here."""
        source = self._source(x)
        if self.masters is not None:
            self.masters.settle()
        with torch.no_grad():
            for tensor, view in self._bound(source):
                tensor.copy_(view, non_blocking=True)
            for buffer in self.space.integers:
                values = torch.from_numpy(integers[buffer.offset : buffer.offset + buffer.size].copy())
                self._places[buffer.name].tensor.copy_(values.view(buffer.shape))
        self._settle()
        if self.masters is not None:
            self.masters.publish()
        if self._exact:
            # Our own copy: in a job another thread may go on to the next x meanwhile.
            np.copyto(self._start, x)
        else:
            # A tensor of another type holds x rounded: what training changed is counted from that.
            self._start = self.read()

    def read(self) -> F32:
        """A copy of the model's tensors as the vector [size], padding as last written (zero)."""
        self._collect()
        return np.array(self._host.numpy(), np.float32)

    def read_integers(self) -> I64:
        """A copy of the integer buffers [integers_size]."""
        values = np.zeros(self.space.integers_size, np.int64)
        for buffer in self.space.integers:
            tensor = self._places[buffer.name].tensor
            values[buffer.offset : buffer.offset + buffer.size] = tensor.detach().cpu().numpy().reshape(-1)
        return values

    def difference(self) -> F32:
        """What was written less what the model holds now: x - y, [size], a new array."""
        self._collect()
        changed: F32 = self._start - self._host.numpy()
        return changed

    def gradient(self, out: F32) -> F32:
        """Adds each parameter's gradient to its place in `out` [size]; buffers and padding are left as they are."""
        for segment in self.space.segments:
            place = self._places[segment.name]
            grad = place.tensor.grad if place.is_parameter else None
            if grad is not None:
                dense = grad.to_dense() if grad.is_sparse else grad
                out[segment.offset : segment.stop] += dense.detach().to("cpu", torch.float32).reshape(-1).numpy()
        return out

    def initial(self) -> Initial:
        return Initial(self.read(), self.read_integers(), {place.name: _array(place.tensor) for place in self._fixed})

    def load_fixed(self, fixed: Tensors) -> None:
        """Raises JobRefused (65) when the initialiser's fixed tensors are not this model's."""
        with torch.no_grad():
            for place in self._fixed:
                values = fixed.get(place.name)
                tensor = place.tensor
                if values is None or tuple(values.shape) != tuple(tensor.shape):
                    there = "has none" if values is None else f"has the shape {tuple(values.shape)}"
                    raise JobRefused(
                        USER_CODE,
                        "ModelsDiffer",
                        f"{place.name} of the model is not trained and has the shape {tuple(tensor.shape)} here; "
                        f"the worker that began the job {there}: build the same model in every worker",
                    )
                tensor.copy_(torch.from_numpy(np.array(values)))

    def _source(self, x: F32) -> torch.Tensor:
        """x where the device can read it."""
        if self.device.type == "cuda" and x.flags.writeable:
            given = torch.from_numpy(x)
            if given.is_pinned():
                return given
        self._host.numpy()[:] = x
        return self._host

    def _bound(self, vector: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for segment in self.space.segments:
            view = vector[segment.offset : segment.stop].view(segment.shape)
            tensor = self._places[segment.name].tensor
            yield self.masters.of(tensor) if self.masters is not None else tensor, view

    def _collect(self) -> None:
        with torch.no_grad():
            for tensor, view in self._bound(self._host):
                view.copy_(tensor, non_blocking=True)
        self._settle()

    def _settle(self) -> None:
        """Copies to and from pinned memory are under way until the device says so."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _sort(model: nn.Module) -> _Sorted:
    found = _Sorted()
    saved = set(model.state_dict(keep_vars=True))
    first: dict[object, str] = {}
    for place in _places(model):
        tensor = place.tensor
        if is_lazy(tensor):
            raise JobRefused(
                USER_CODE,
                "ModelRefused",
                f"parameter {place.name} of the model has no shape yet: run the model once on a sample before join",
            )
        if not place.is_parameter and place.name not in saved:
            continue
        identity = _identity(tensor)
        if identity in first:
            found.tied[place.name] = first[identity]
            continue
        first[identity] = place.name
        _belongs(found, place)(place)
    if not found.parameters:
        raise JobRefused(
            USER_CODE, "ModelRefused", "the model has no parameter to train: none has requires_grad and any element"
        )
    return found


def _belongs(found: _Sorted, place: _Place) -> Callable[[_Place], None]:
    tensor = place.tensor
    if tensor.numel() == 0 or (place.is_parameter and not tensor.requires_grad):
        return found.fixed.append
    if place.is_parameter:
        if not tensor.is_floating_point():
            raise JobRefused(
                USER_CODE,
                "ModelRefused",
                f"parameter {place.name} of the model is {tensor.dtype}: only real floating-point ones can be trained",
            )
        return found.parameters.append
    if tensor.is_floating_point():
        return found.buffers.append
    small = str(tensor.dtype).removeprefix("torch.") in INTEGERS and tensor.numel() <= LARGEST_INTEGER_BUFFER
    return found.integers.append if small else found.fixed.append


def _places(model: nn.Module) -> Iterator[_Place]:
    """Every parameter, then every buffer, tied ones as often as they are named."""
    modules = list(model.named_modules(remove_duplicate=False))
    for is_parameter in (True, False):
        for prefix, module in modules:
            own = module._parameters if is_parameter else module._buffers
            for key, tensor in own.items():
                if tensor is not None:
                    yield _Place(f"{prefix}.{key}" if prefix else key, module, key, is_parameter)


def _identity(tensor: torch.Tensor) -> object:
    if tensor.numel() == 0 or tensor.device.type == "meta":
        return id(tensor)
    # Two parameters over the same memory are tied, too.
    return tensor.device, tensor.dtype, tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


def _array(tensor: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """A copy; types that numpy lacks (bfloat16, float8) become float32, which holds them exactly."""
    plain = tensor.detach().cpu()
    if plain.is_floating_point() and plain.dtype not in (torch.float16, torch.float32, torch.float64):
        plain = plain.float()
    return plain.clone().numpy()
