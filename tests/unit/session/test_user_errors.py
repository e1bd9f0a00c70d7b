"""An error of user code in words: their file and line."""

import runpy
from pathlib import Path

import pytest
import torch

from builders.nets import mixed_net, sequences
from deepseek_runtime.session import Session, join
from deepseek_runtime.user_errors import describe_user_error


def raised(path: Path) -> BaseException:
    with pytest.raises((RuntimeError, SyntaxError)) as error:
        runpy.run_path(str(path))
    return error.value


def test_the_innermost_frame_of_the_user_s_files(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import torch\n\ndef loss():\n    return torch.zeros(2) @ torch.zeros(3)\n\nloss()\n")
    said = describe_user_error(raised(script), [tmp_path])
    assert said.startswith("train.py, line 4, in loss: RuntimeError: ")
    assert "\n" not in said
    assert describe_user_error(raised(script)) == said


def test_a_syntax_error(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("x = 1\nfor\n")
    assert describe_user_error(raised(script), [tmp_path]) == "train.py, line 2: SyntaxError: invalid syntax"


def test_a_session_error_names_the_user_s_loop() -> None:
    model = mixed_net()
    session = join(model, torch.optim.SGD(model.parameters(), lr=0.1), sequences(8))
    with pytest.raises(RuntimeError) as error:
        step_only(session)
    assert describe_user_error(error.value).startswith("test_user_errors.py, line ")


def step_only(session: Session) -> None:
    for _ in session:
        session.step()


def test_out_of_memory_has_a_hint() -> None:
    error = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has more.\nmore")
    said = describe_user_error(error)
    assert "2 GiB" in said
    assert "batchSize" in said
    assert "more" not in said


def test_an_error_without_words() -> None:
    assert describe_user_error(KeyError()) == "KeyError"
