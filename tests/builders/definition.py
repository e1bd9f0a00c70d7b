"""The resource's definition, applied to an API server and ready to be used."""

import fcntl
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from testcluster.commands import CommandFailed

FILE: Final = Path(__file__).parents[2] / "crds" / "deepseekjobs.yaml"
LOCK: Final = FILE.parents[1] / "build" / "definition.lock"
PATIENCE: Final = 300.0


def establish(kubectl: Callable[..., str]) -> None:
    """Applies it by this kubectl, and returns when the API server serves it."""
    end = time.monotonic() + PATIENCE
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("w") as file:
        # Of two at once each begins anew when the other has written, and neither may end.
        fcntl.flock(file, fcntl.LOCK_EX)
        _apply(kubectl, end)


def _apply(kubectl: Callable[..., str], end: float) -> None:
    while not _applied(kubectl):
        assert time.monotonic() < end, f"the definition could not be applied within {PATIENCE:g} s"
    # `kubectl wait` fails on a definition that is so new that it has no conditions.
    while not _established(kubectl("get", "crd", "deepseekjobs.deepseek.dev", "--output=json")):
        assert time.monotonic() < end, f"the definition is not established within {PATIENCE:g} s"
        time.sleep(0.2)


def _applied(kubectl: Callable[..., str]) -> bool:
    """False where compiling the rules took longer than the 34 s that an API server gives a write: on a busy machine."""
    try:
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(FILE))
    except (AssertionError, CommandFailed) as error:
        if "request did not complete within requested timeout" not in str(error):
            raise
        return False
    return True


def _established(definition: str) -> bool:
    conditions = json.loads(definition).get("status", {}).get("conditions") or []
    return any((c["type"], c["status"]) == ("Established", "True") for c in conditions)
