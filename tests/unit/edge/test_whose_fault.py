"""Exit codes of what user code raises: the user's mistake in a member's first range, else worth another process."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from deepseek_runtime.contract.exit_codes import CRASHED, USER_CODE
from deepseek_runtime.worker import _fault, _out_of_memory


@pytest.mark.parametrize(
    "trained,error,code",
    [
        (0, ValueError(), USER_CODE),
        (1, ValueError(), CRASHED),
        (0, torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), CRASHED),
        (7, torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), CRASHED),
        (0, MemoryError(), CRASHED),
    ],
)
def test_code(trained: int, error: Exception, code: int) -> None:
    feed = cast(Any, SimpleNamespace(trained=trained, range=3))
    record = _fault(feed, "train.py, line 3", retried=_out_of_memory(error)).record
    assert (record.code, record.reason, record.range) == (code, "UserCodeRaised", 3)
    assert record.first_range == (trained == 0)
