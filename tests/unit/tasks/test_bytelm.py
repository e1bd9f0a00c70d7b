"""The byte model and its data, pinned."""

import hashlib

import numpy as np
import pytest
import torch

from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import Optimizer, Training
from deepseek_runtime.feed import JobRefused
from deepseek_runtime.tasks import bytelm
from deepseek_runtime.tasks.bytelm import ByteGPT, ByteLM, Windows, sources
from deepseek_runtime.tasks.task import run_task


def test_windows_predict_each_byte_once() -> None:
    text = np.arange(23, dtype=np.uint8)
    windows = Windows(text, context=5)
    assert len(windows) == 4
    assert [window.tolist() for window in (windows[0], windows[3])] == [[0, 1, 2, 3, 4, 5], [15, 16, 17, 18, 19, 20]]
    with pytest.raises(IndexError):
        windows[4]


def test_the_split_is_by_file_and_about_nine_to_one() -> None:
    parts = sources()
    sizes = {split: len(text) for split, text in parts.items()}
    assert sizes["train"] + sizes["test"] == 26_168_818
    assert 0.07 < sizes["test"] / 26_168_818 < 0.13


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sources.cache_clear()
    monkeypatch.setattr(bytelm, "VERSION", "1.0")
    with pytest.raises(JobRefused, match=r"1\.14\.0 is installed: install sympy==1\.0") as refused:
        sources()
    assert refused.value.code == 66


def test_changed_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sources.cache_clear()
    monkeypatch.setattr(bytelm, "SHA256", hashlib.sha256(b"other").hexdigest())
    with pytest.raises(JobRefused, match="sha256 differs"):
        sources()


def test_size_and_causality() -> None:
    torch.manual_seed(0)
    task = ByteLM()
    model = task.model()
    assert isinstance(model, ByteGPT)
    assert model.head.weight is model.bytes.weight
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(1.05e6, rel=0.03)
    ids = torch.randint(0, 256, (2, 16))
    changed = ids.clone()
    changed[:, 10:] = 0
    with torch.no_grad():
        assert torch.allclose(model(ids)[:, :10], model(changed)[:, :10], atol=1e-5)


def test_learns_more_than_single_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = np.frombuffer(b"def f(x): return x + 1\n" * 400, np.uint8)
    monkeypatch.setattr(bytelm, "sources", lambda: {"train": text, "test": text[:2000]})
    feed = Alone(Training(steps=60, batch_size=16, optimizer=Optimizer(lr=3e-3)))
    run_task(ByteLM(layers=1, heads=2, width=32, context=32, eval_windows=20), feed)
    assert feed.losses[0] == pytest.approx(np.log(256), abs=0.2)
    assert feed.metrics[-1][1]["loss"] < 2.0


@pytest.mark.parametrize("args", [{"width": 30}, {"layers": 0}, {"context": 0}])
def test_arguments(args: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ByteLM(**args)
