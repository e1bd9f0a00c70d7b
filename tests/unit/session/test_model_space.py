"""Which tensor of a model travels where, and that copies in and out lose nothing."""

import numpy as np
import pytest
import torch
from torch import nn

from builders.nets import mixed_net, two_groups
from builders.vectors import buffers_in, integers_of, tensors_in
from deepseek_runtime.feed import JobRefused
from deepseek_runtime.model_space import LARGEST_INTEGER_BUFFER, ModelSpace


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad])


def test_places() -> None:
    model = mixed_net()
    bound = ModelSpace(model, torch.optim.SGD(two_groups(model), lr=0.1))
    kinds = {segment.name: (segment.kind, segment.group) for segment in bound.space.segments}
    assert kinds == {
        "embedding.weight": ("small", 0),
        "norm.weight": ("small", 1),
        "norm.bias": ("small", 1),
        "mix.weight": ("small", 1),
        "mix.bias": ("small", 1),
        "norm.running_mean": ("buffers", 0),
        "norm.running_var": ("buffers", 0),
    }
    assert {buffer.name for buffer in bound.space.integers} == {"norm.num_batches_tracked", "seen"}
    assert set(bound.initial().fixed) == {"frozen.weight", "frozen.bias", "mask"}
    assert bound.tied == {"head.weight": "embedding.weight"}


def test_space_fixed_and_tied_make_the_whole_state_dict() -> None:
    model = mixed_net()
    bound = ModelSpace(model, adam(model))
    initial = bound.initial()
    arrays = {**tensors_in(bound.space, initial.values), **buffers_in(bound.space, initial.integers), **initial.fixed}
    arrays |= {name: arrays[first] for name, first in bound.tied.items()}
    bare = mixed_net(seed=5)
    bare.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, strict=True)
    for key, value in model.state_dict().items():
        assert torch.equal(bare.state_dict()[key], value), key


def test_write_is_in_place_and_difference_counts_from_it() -> None:
    model = mixed_net()
    bound = ModelSpace(model, adam(model))
    pointers = [parameter.data_ptr() for parameter in model.parameters()]
    x = np.random.default_rng(0).standard_normal(bound.space.size).astype(np.float32)
    bound.write(x, np.zeros(3, np.int64))
    assert [parameter.data_ptr() for parameter in model.parameters()] == pointers
    assert np.array_equal(model.mix.weight.detach().numpy(), tensors_in(bound.space, x)["mix.weight"])
    x += 3.0  # whoever owns x may go on with it
    assert not bound.difference().any()
    assert isinstance(model.norm.running_mean, torch.Tensor)
    with torch.no_grad():
        model.mix.bias.add_(1)
        model.norm.running_mean.sub_(2)
    changed = tensors_in(bound.space, bound.difference())
    assert np.allclose(changed["mix.bias"], -1, atol=1e-6)
    assert np.allclose(changed["norm.running_mean"], 2, atol=1e-6)
    assert not changed["mix.weight"].any()


def test_integers_round_trip() -> None:
    model = mixed_net()
    bound = ModelSpace(model, adam(model))
    bound.write(bound.read(), integers_of(bound.space, {
        "seen": np.array([3, 4]), "norm.num_batches_tracked": np.array(9),
    }))  # fmt: skip
    assert model.seen.tolist() == [3, 4]
    model.seen += 1
    values = buffers_in(bound.space, bound.read_integers())
    assert values["seen"].tolist() == [4, 5]
    assert values["norm.num_batches_tracked"] == 9


def test_two_parameters_over_the_same_memory_are_tied() -> None:
    a, b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    b.weight = nn.Parameter(a.weight.data)
    model = nn.ModuleDict({"a": a, "b": b})
    assert ModelSpace(model, adam(model)).tied == {"b.weight": "a.weight"}


def test_a_half_model_counts_from_the_rounded_weights() -> None:
    model = nn.Linear(4, 4).to(torch.bfloat16)
    bound = ModelSpace(model, torch.optim.SGD(model.parameters(), lr=0.1))
    x = np.full(bound.space.size, 1.001, np.float32)
    bound.write(x, np.zeros(0, np.int64))
    assert not bound.difference().any()
    assert bound.space.segments[0].dtype == "bfloat16"


def test_large_integer_tables_are_fixed() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("table", torch.arange(LARGEST_INTEGER_BUFFER + 1))
    bound = ModelSpace(model, adam(model))
    assert bound.space.integers == ()
    assert set(bound.initial().fixed) == {"table"}


def test_frozen_bfloat16_goes_through_numpy_exactly() -> None:
    model = nn.Sequential(nn.Linear(3, 3).to(torch.bfloat16).requires_grad_(False), nn.Linear(3, 3))
    other = nn.Sequential(nn.Linear(3, 3).to(torch.bfloat16).requires_grad_(False), nn.Linear(3, 3))
    ModelSpace(other, adam(other)).load_fixed(ModelSpace(model, adam(model)).initial().fixed)
    there, here = other.state_dict()["0.weight"], model.state_dict()["0.weight"]
    assert torch.equal(there, here)
    assert there.dtype == torch.bfloat16


def test_fixed_of_another_model_is_refused() -> None:
    model = mixed_net()
    bound = ModelSpace(model, adam(model))
    fixed = dict(bound.initial().fixed)
    fixed["frozen.weight"] = np.zeros((3, 3), np.float32)
    with pytest.raises(JobRefused, match=r"frozen\.weight.*\(12, 12\) here.*\(3, 3\)") as refused:
        bound.load_fixed(fixed)
    assert refused.value.code == 65


def test_a_compiled_module_has_its_plain_names() -> None:
    class Wrapped(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self._orig_mod = inner

    model = mixed_net()
    assert "mix.weight" in [s.name for s in ModelSpace(Wrapped(model), adam(model)).space.segments]
