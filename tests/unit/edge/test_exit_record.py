"""What a member leaves behind of the exception that ended it."""

from pathlib import Path

import pytest

from deepseek_runtime.contract.names import ENV_EXIT_FILE
from deepseek_runtime.contract.records import ExitRecord
from deepseek_runtime.edge.process import Exit, leave


@pytest.mark.parametrize(
    "message,written",
    [
        ("no such file: b\udcff.txt", "no such file: b\\udcff.txt"),
        ("x" * 9_999, "x" * 3_584),
        ("\u00e4" * 9_999, "\u00e4" * 1_792),
    ],
    ids=["a name that is no UTF-8", "too long", "too long in bytes"],
)
def test_any_message_can_be_written(
    message: str, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the user's own error would be taken for a crash of ours, and tried again."""
    file = tmp_path / "exit.json"
    monkeypatch.setenv(ENV_EXIT_FILE, str(file))
    assert leave(None, Exit(65, "UserCodeRaised", message)) == 65
    record = ExitRecord.model_validate_json(file.read_bytes())
    assert (record.code, record.message) == (65, written)
    assert file.stat().st_size <= 4096
