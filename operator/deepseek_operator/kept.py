"""What a job on this machine leaves for those who come after: its checkpoints, its model, and the count of its samples.

Needs numpy, which comes with [local] and not with the bare operator, so the runtime's modules are imported when called.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from deepseek_operator.state_folder import StateBroken, StateFolder
from deepseek_runtime.contract.config import ConfigError, JobConfig, load_config
from deepseek_runtime.contract.names import Member

if TYPE_CHECKING:
    from deepseek_runtime.audit import Audit
    from deepseek_runtime.checkpoint.choose import Listed
    from deepseek_runtime.checkpoint.export import ExportResult

P = ParamSpec("P")
T = TypeVar("T")


class NotThere(Exception):
    """What was asked for cannot be had. The message is for people, `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def _explained(call: Callable[P, T]) -> Callable[P, T]:
    """What the runtime raises, as NotThere."""

    @functools.wraps(call)
    def explained(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            from deepseek_runtime.audit import CannotCount
            from deepseek_runtime.checkpoint.store import StoreError
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("deepseek"):
                raise
            raise NotThere(f"{error.name} is not installed", "pip install 'deepseek-operator[local]'") from error
        try:
            return call(*args, **kwargs)
        except (StoreError, CannotCount, ConfigError) as error:
            raise NotThere(str(error)) from error

    return explained


def config_of(folder: StateFolder) -> JobConfig:
    """What its members read. Raises ConfigError when the job never began, StateBroken."""
    return load_config(folder.config_file(folder.identity().generation))


@_explained
def checkpoints(folder: StateFolder) -> "list[Listed]":
    """Newest first; those from before a roll-back last. Raises NotThere, StateBroken."""
    from deepseek_runtime.checkpoint.choose import list_checkpoints

    checkpoint = config_of(folder).checkpoint
    return list_checkpoints(checkpoint.uri, checkpoint.storage_options)


@_explained
def export_model(folder: StateFolder, file: Path, step: int | None = None) -> "ExportResult":
    """Writes the newest checkpoint (or that of `step`) as one plain safetensors file. Raises NotThere, StateBroken."""
    from deepseek_runtime.checkpoint.export import export

    checkpoint = config_of(folder).checkpoint
    return export(checkpoint.uri, file, step, options=checkpoint.storage_options)


@_explained
def audited(folder: StateFolder) -> "Audit":
    """Which samples entered the state that survived, and how often. Raises NotThere, StateBroken."""
    from deepseek_runtime.audit import audit

    at_work = folder.status().members if folder.alive() else ()
    live = [str(Member(m.role, m.index, m.incarnation)) for m in at_work]
    return audit(config_of(folder), live=live)


__all__ = ["NotThere", "StateBroken", "audited", "checkpoints", "config_of", "export_model"]
