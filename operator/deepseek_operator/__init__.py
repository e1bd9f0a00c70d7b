"""The control plane of deepseek-operator: the DeepseekJob resource, what to do about it, and who does it.

api/        the resource: what a user may write, what they see
reconcile/  observe and the pure plan
executors/  carry a plan out, as processes or as pods
view/       what people are shown of a job
cli/        the command `dsj`
client.py   jobs from Python: `from deepseek_operator import run, attach`
"""

from typing import TYPE_CHECKING, Any

from deepseek_runtime.contract.version import VERSION as __version__

if TYPE_CHECKING:
    from deepseek_operator.client import Job, JobFailed, NotStarted, Result, attach, run

__all__ = ["Job", "JobFailed", "NotStarted", "Result", "__version__", "attach", "run"]


def __getattr__(name: str) -> Any:
    """The client is imported when it is asked for: the operator itself has no use for it."""
    if name in __all__:
        from deepseek_operator import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
