"""An exported file loads into the bare model, whatever the model's tensors are, and nothing damaged ever leaves."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from builders.checkpoints import a_checkpoint, a_job
from builders.vectors import integers_of, vector_of
from deepseek_runtime.checkpoint.export import export, to_bfloat16
from deepseek_runtime.checkpoint.index import Index, write_base, write_index
from deepseek_runtime.checkpoint.local import LocalStore
from deepseek_runtime.checkpoint.store import StoreError
from deepseek_runtime.checkpoint.tensors import BFLOAT16, Array
from deepseek_runtime.protocol.lineage import Base, Step
from deepseek_runtime.space import F32, Space, TensorSpec

FIRST = Base(restored=Step(1, 0))


class Net(nn.Module):
    """One of everything: tied and frozen weights, BatchNorm, half precision, bool and large integer buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.norm = nn.BatchNorm1d(8)
        self.scale16 = nn.Parameter(torch.randn(3, 5, dtype=torch.float16))
        self.brain = nn.Parameter(torch.randn(7, dtype=torch.bfloat16))
        self.scale64 = nn.Parameter(torch.randn(2, 2).double())
        self.frozen = nn.Linear(8, 3).requires_grad_(False)
        self.frozen_brain = nn.Parameter(torch.randn(4, dtype=torch.bfloat16), requires_grad=False)
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("small", torch.tensor([1, 2], dtype=torch.int32))


def stored(store: LocalStore, model: Net, chunk: int = 16, spans: int = 5) -> Index:
    """The model's state as a checkpoint, written as a job would."""
    state = model.state_dict()
    aliases = {"head.weight": "embedding.weight"}
    fixed_names = ["frozen.weight", "frozen.bias", "frozen_brain", "mask"]
    trained = {name: value for name, value in state.items() if name not in (*aliases, *fixed_names)}
    space = Space.build(
        [
            TensorSpec(n, tuple(t.shape), str(t.dtype), "buffer" if "running" in n else "parameter")
            for n, t in trained.items()
            if t.is_floating_point()
        ],
        [TensorSpec(n, tuple(t.shape), str(t.dtype)) for n, t in trained.items() if not t.is_floating_point()],
        spans=spans,
        chunk=chunk,
    )
    theta = vector_of(space, {n: t.detach().float().numpy() for n, t in trained.items() if t.is_floating_point()})
    integers = integers_of(space, {n: t.numpy() for n, t in trained.items() if not t.is_floating_point()})
    fixed = {name: as_array(state[name]) for name in fixed_names}
    write_base(store, 1, FIRST)
    return a_checkpoint(store, 1, 7, space=space, theta=theta, integers=integers, fixed=fixed, aliases=aliases)


def as_array(tensor: torch.Tensor) -> Array:
    if tensor.dtype == torch.bfloat16:
        return tensor.detach().view(torch.uint16).numpy().view(BFLOAT16)
    array: Array = tensor.detach().numpy()
    return array


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "job")


@pytest.mark.parametrize("chunk, spans", [(16, 5), (1, 64), (4096, 1)])
def test_it_loads_into_the_bare_model(store: LocalStore, tmp_path: Path, chunk: int, spans: int) -> None:
    torch.manual_seed(0)
    model = Net()
    model.norm(torch.randn(4, 8))
    index = stored(store, model, chunk, spans)
    result = export(store.uri, tmp_path / "out" / "model.safetensors")
    assert (result.step, result.term, result.tensors) == (7, 1, len(model.state_dict()))
    assert result.size == result.path.stat().st_size
    loaded = load_file(result.path)
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == tensor.dtype, name
        assert torch.equal(loaded[name], tensor), name
    torch.manual_seed(1)
    other = Net()
    other.load_state_dict(loaded, strict=True)
    assert torch.equal(other.head.weight, model.embedding.weight)
    assert len(index.parts) <= spans


def test_aliases_may_stand_in_the_space(store: LocalStore, tmp_path: Path) -> None:
    write_base(store, 1, FIRST)
    space = Space.build([TensorSpec("a", (2,), "float32")], chunk=2)
    index = a_checkpoint(store, 1, 0, space=space, theta=np.array([1, 2], np.float32))
    store.delete_tree("t1/step-0/index.json")
    write_index(store, index.model_copy(update={"space": {**index.space, "aliases": {"b": "a"}}}))
    loaded = load_file(export(store.uri, tmp_path / "m.safetensors").path)
    assert loaded["a"].tolist() == loaded["b"].tolist() == [1, 2]


def test_an_alias_of_nothing_is_damage(store: LocalStore, tmp_path: Path) -> None:
    write_base(store, 1, FIRST)
    a_checkpoint(store, 1, 0, aliases={"b": "nothing"})
    with pytest.raises(StoreError, match="ties 'b' to 'nothing'"):
        export(store.uri, tmp_path / "m.safetensors")


def test_the_newest_or_the_step_asked_for(store: LocalStore, tmp_path: Path) -> None:
    a_job(store, {1: FIRST, 2: Base(restored=Step(1, 10))}, {1: [0, 10, 20], 2: [15]})
    newest = export(store.uri, tmp_path / "new.safetensors")
    assert (newest.term, newest.step) == (2, 15)
    assert load_file(newest.path)["w"][0, 0] == 15
    assert load_file(newest.path)["seen"] == 15
    assert load_file(export(store.uri, tmp_path / "old.safetensors", step=10).path)["w"][2, 7] == 10


def test_a_cut_index_is_passed_over_and_told(store: LocalStore, tmp_path: Path) -> None:
    a_job(store, {1: FIRST}, {1: [0, 10]})
    (store.root / "t1/step-10/index.json").write_bytes(b"{")
    result = export(store.uri, tmp_path / "m.safetensors")
    assert result.step == 0
    assert result.passed_over[0][0] == (1, 10)


@pytest.mark.parametrize("place", [0, 60, -1])
def test_a_damaged_part_leaves_no_file(store: LocalStore, tmp_path: Path, place: int) -> None:
    index = stored(store, Net())
    for file in index.files:
        path = store.root / file.path
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(StoreError, match="damaged"):
            export(store.uri, tmp_path / "out" / "model.safetensors")
        assert list((tmp_path / "out").glob("*")) == []
        path.write_bytes(whole)


def test_a_target_that_cannot_be_written_is_told(store: LocalStore, tmp_path: Path) -> None:
    a_job(store, {1: FIRST}, {1: [0]})
    (tmp_path / "taken").write_text("x")
    with pytest.raises(StoreError, match="a file stands where a folder is needed") as caught:
        export(store.uri, tmp_path / "taken" / "model.safetensors")
    assert caught.value.kind == "denied"
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="folder"):
        export(store.uri, tmp_path / "folder")


def test_memory_stays_bounded(store: LocalStore, tmp_path: Path) -> None:
    space = Space.build([TensorSpec("w", (4 << 20,), "float32"), TensorSpec("v", (3 << 20,), "bfloat16")], spans=2)
    write_base(store, 1, FIRST)
    theta: F32 = np.ones(space.size, np.float32)
    a_checkpoint(store, 1, 0, space=space, theta=theta)
    tracemalloc.start()
    try:
        result = export(store.uri, tmp_path / "m.safetensors")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.size > 22 << 20
    assert peak < 22 << 20, "less than one tensor, let alone the file"


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_bfloat16_rounds_as_torch_does(values: list[float]) -> None:
    array = np.array(values, np.float32)
    ours = torch.from_numpy(to_bfloat16(array).view(np.uint16)).view(torch.bfloat16)
    theirs = torch.from_numpy(array).bfloat16()
    assert torch.equal(ours.isnan(), theirs.isnan())
    assert torch.equal(ours.nan_to_num(0, 1, -1), theirs.nan_to_num(0, 1, -1))
