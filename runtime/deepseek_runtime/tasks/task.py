"""What a task is, how a manifest's `module:Class` becomes one, and the loop over it: a thin layer on a session."""

import difflib
import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final, Literal

import torch
from torch import nn
from torch.utils.data import default_collate

from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import Optimizer, Training
from deepseek_runtime.contract.exit_codes import MISSING_INPUT, USAGE, USER_CODE
from deepseek_runtime.feed import Feed, JobRefused
from deepseek_runtime.optimizers import build_optimizer
from deepseek_runtime.random_state import seed_start
from deepseek_runtime.session import Session, feed_of_job, join

Split = Literal["train", "test"]


class Task(ABC):
    """A model, its loss and its data. Subclassing is a convenience: any class with these methods is a task.

    Keyword arguments of the constructor are the manifest's `training.args`.
    """

    @abstractmethod
    def model(self) -> nn.Module:
        """A new model; random states are seeded from `training.seed` before."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        """The mean loss of a batch, 0-d."""

    @abstractmethod
    def dataset(self, split: Split) -> Any:
        """A map-style data set; only "train" is asked for by the runtime."""

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """Metrics of the model, which is in eval mode and on the session's device."""
        return {}

    def collate(self, samples: list[Any]) -> Any:
        """Samples to batch; torch's default_collate unless overridden."""
        return default_collate(samples)


REQUIRED: Final = ("model", "loss", "dataset")


def load_task(reference: str, args: Mapping[str, Any] | None = None) -> Task:
    """`module:Class` and `training.args` to a task.

    Raises JobRefused: 64 for a wrong reference or wrong arguments, 66 for a module or class that is not there, 65
    for a class that is no task. What the user's module or constructor raises goes through.
    """
    module_name, colon, class_name = reference.partition(":")
    if not colon or not module_name or not class_name:
        raise JobRefused(
            USAGE, "TaskReference", f"training.task is {reference!r}; it must be module:Class, as in my_code:MyTask"
        )
    kind = _class(_module(module_name), module_name, class_name)
    arguments = dict(args or {})
    try:
        inspect.signature(kind).bind(**arguments)
    except TypeError as error:
        takes = ", ".join(inspect.signature(kind).parameters) or "no arguments"
        raise JobRefused(
            USAGE, "TaskArguments", f"training.args do not fit {reference}: {error}; it takes: {takes}"
        ) from error
    missing = [name for name in REQUIRED if not callable(getattr(kind, name, None))]
    if missing:
        raise JobRefused(
            USER_CODE,
            "NotATask",
            f"{reference} is no task: it has no {' and no '.join(missing)}; a task has model(), loss(model, batch) "
            "and dataset(split)",
        )
    task: Task = kind(**arguments)
    return task


def run_task(task: Task, feed: Feed | None = None, **keywords: Any) -> Session:
    """Trains a task from `feed` (default: alone, on one epoch) until it is over; the session tells how it went.

    keywords: `device` and `loader_workers` of `join`.
    """
    if feed is None:
        feed = Alone(Training(epochs=1))
    training = feed.training
    seed_start(training.seed)
    with feed_of_job(feed):
        model = task.model()
        if not isinstance(model, nn.Module):
            raise JobRefused(
                USER_CODE, "NotATask", f"model() of the task returned {type(model).__name__}, not a torch module"
            )
        gradient = training.update.mode == "gradient"
        on_host = training.precision.masters == "host"
        optimizer = None if gradient else build_optimizer(training.optimizer or Optimizer(), model, on_host=on_host)
        session = join(
            model,
            optimizer,
            task.dataset("train"),
            evaluate=getattr(task, "evaluate", None),
            collate=getattr(task, "collate", default_collate),
            **keywords,
        )
        for batch in session:
            session.backward(task.loss(session.model, batch))
            session.step()
    return session


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(missing + "."):
            raise JobRefused(
                MISSING_INPUT,
                "TaskNotFound",
                f"training.task: there is no module {missing!r}; put its folder into training.code, or install it",
            ) from error
        raise JobRefused(
            MISSING_INPUT,
            "ModuleNotFound",
            f"training.task: {name} imports {missing!r}, which is not installed: add it to the image or environment",
        ) from error


def _class(module: ModuleType, module_name: str, class_name: str) -> Any:
    kind = getattr(module, class_name, None)
    if inspect.isclass(kind):
        return kind
    if kind is not None:
        raise JobRefused(
            USER_CODE, "NotATask", f"training.task: {class_name} in {module_name} is no class but {type(kind).__name__}"
        )
    classes = [name for name, value in vars(module).items() if inspect.isclass(value)]
    near = difflib.get_close_matches(class_name, classes, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise JobRefused(MISSING_INPUT, "TaskNotFound", f"training.task: {module_name} has no class {class_name}{hint}")
