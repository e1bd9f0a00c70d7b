"""The resource's definition, applied to an API server and ready to be used."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).parents[2] / "crds" / "deepseekjobs.yaml"
PATIENCE: Final = 60.0


def establish(kubectl: Callable[..., str]) -> None:
    """Applies it by this kubectl, and returns when the API server serves it."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(FILE))
    end = time.monotonic() + PATIENCE
    # `kubectl wait` fails on a definition that is so new that it has no conditions.
    while not _established(kubectl("get", "crd", "deepseekjobs.deepseek.dev", "--output=json")):
        assert time.monotonic() < end, f"the definition is not established within {PATIENCE:g} s"
        time.sleep(0.2)


def _established(definition: str) -> bool:
    conditions = json.loads(definition).get("status", {}).get("conditions") or []
    return any((c["type"], c["status"]) == ("Established", "True") for c in conditions)
