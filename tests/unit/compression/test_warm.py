"""Kernels are compiled ahead of time; where nothing can be cached they still work, and a message says what to do."""

import logging
from typing import Any

import pytest

from deepseek_runtime.compression import codec, jit, plain, warm


def test_warm_compiles_and_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert warm.main() == 0
    folder = jit.cache_folder()
    assert folder is not None
    assert folder in capsys.readouterr().out


def test_warm_fails_where_nothing_can_be_cached(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jit, "_folders", set())
    assert warm.main() == 1
    assert "NUMBA_CACHE_DIR" in capsys.readouterr().err


def test_warm_fails_without_numba(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(warm, "load", lambda: plain)
    assert warm.main() == 1
    assert "numba cannot be imported" in capsys.readouterr().err


def _double(x: int) -> int:
    return 2 * x


def test_a_kernel_is_compiled_without_a_cache(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    codec.load()
    compile_uncached: Any = vars(jit)["njit"]

    def read_only(signatures: Any, *, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function 'twice': no locator available for file")
        return compile_uncached(signatures, **options)

    monkeypatch.setattr(jit, "njit", read_only)
    with caplog.at_level(logging.WARNING):
        double = jit.kernel(jit.INT, jit.INT)(_double)
    assert double(4) == 8
    assert "NUMBA_CACHE_DIR" in caplog.text
