"""The data plane of deepseek-operator: what runs inside workers and parameter servers.

`deepseek_runtime.join(model, optimizer, dataset)` is the one entry point for user code. It is resolved
lazily, because it imports torch and parameter servers must start without it.
"""

from typing import TYPE_CHECKING, Any

from deepseek_runtime.contract.version import VERSION as __version__

if TYPE_CHECKING:
    from deepseek_runtime.session import Session, join

__all__ = ["Session", "__version__", "join"]


def __getattr__(name: str) -> Any:
    if name in ("Session", "join"):
        from deepseek_runtime import session

        return getattr(session, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
