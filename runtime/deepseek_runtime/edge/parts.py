"""Codec and rule of a span, as the config says."""

from deepseek_runtime import schedule
from deepseek_runtime.compression import SpanCodec, codec_for
from deepseek_runtime.contract.config import JobConfig, Optimizer
from deepseek_runtime.protocol.settings import settings_of
from deepseek_runtime.protocol.span import SpanParts
from deepseek_runtime.rules import DelayedNesterov, Linear
from deepseek_runtime.space import Space


def codec(config: JobConfig, space: Space, index: int) -> SpanCodec:
    return codec_for(space.spans[index].runs, config.training.compression)


def span_parts(config: JobConfig, space: Space, index: int, samples: int) -> SpanParts:
    """`local`: the linear rule. `gradient`: delayed Nesterov, its learning rate a function of g."""
    training = config.training
    made = codec(config, space, index)
    dense = training.compression.method == "none"
    if training.update.mode == "local":
        return SpanParts(made, Linear(made, space.spans[index].runs), _no_rate, dense)
    plan = settings_of(config).plan(samples)
    optimizer = training.optimizer or Optimizer()

    def rate(g: int) -> float:
        return schedule.learning_rate(optimizer, plan.first_step(g), plan.steps)

    span = space.spans[index]
    return SpanParts(made, DelayedNesterov(made, span.runs, span.size, training.update.momentum), rate, dense)


def _no_rate(g: int) -> float:
    return 1.0
