"""What a chief must know of the job, as plain data."""

from collections.abc import Callable
from dataclasses import dataclass

from deepseek_runtime.contract.config import Guard, JobConfig, Timing
from deepseek_runtime.ranges import RangePlan

OFF = Guard()


@dataclass(frozen=True, slots=True)
class Settings:
    plan: Callable[[int], RangePlan]
    """From the length of the data set."""
    bound: int | None
    """Of staleness, in ranges; None: async; 1: sync."""
    share: bool = True
    checkpoint_every: int = 1000
    evaluate_every: int = 0
    timing: Timing = Timing()
    backup: bool = False
    """Each span is also held by its server's neighbour."""
    publish_every: float = 0.0
    """Part of a turn of all workers that a pull may lack."""
    guard: Guard = OFF
    gradient: bool = False
    lowered: bool = False
    """Whether workers compute in less than float32."""


def settings_of(config: JobConfig) -> Settings:
    training = config.training
    staleness = training.staleness
    bounds = {"async": None, "bounded": staleness.max, "sync": 1}

    def plan(samples: int) -> RangePlan:
        steps, epochs, local = training.steps, training.epochs, training.update.local_steps
        if steps is None:
            return RangePlan.of_epochs(samples, training.batch_size, local, epochs or 1, training.seed)
        return RangePlan(samples, training.batch_size, local, steps, training.seed)

    return Settings(
        plan=plan,
        bound=bounds[staleness.mode],
        share=training.update.weight == "share",
        publish_every=training.compression.publish_every,
        checkpoint_every=config.checkpoint.every_steps,
        evaluate_every=training.evaluation.every_steps,
        timing=config.timing,
        backup=config.backup,
        guard=training.guard,
        gradient=training.update.mode == "gradient",
        lowered=training.precision.compute != "float32",
    )
