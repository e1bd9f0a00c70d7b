"""Codec and rule of a span, as the config says."""

from deepseek_runtime import schedule
from deepseek_runtime.compression import SpanCodec, codec_for
from deepseek_runtime.contract.config import JobConfig, Optimizer
from deepseek_runtime.protocol.settings import settings_of
from deepseek_runtime.protocol.span import SpanParts
from deepseek_runtime.rules import AdamW, DelayedNesterov, Linear, Moments, Rule
from deepseek_runtime.space import Space


def codec(config: JobConfig, space: Space, index: int) -> SpanCodec:
    return codec_for(space.spans[index].runs, config.training.compression)


def span_parts(config: JobConfig, space: Space, index: int, samples: int) -> SpanParts:
    """`local`: the linear rule, or outer momentum. `gradient`: the optimizer's, its learning rate a function of g."""
    training = config.training
    made = codec(config, space, index)
    dense = training.compression.method == "none"
    span = space.spans[index]
    update = training.update
    if update.mode == "local":
        if update.outer_momentum:
            return SpanParts(made, DelayedNesterov(made, span.runs, span.size, update.outer_momentum), _no_rate, dense)
        return SpanParts(made, Linear(made, span.runs), _no_rate, dense)
    plan = settings_of(config).plan(samples)
    optimizer = training.optimizer or Optimizer()

    def rate(g: int) -> float:
        return schedule.learning_rate(optimizer, plan.first_step(g), plan.steps)

    rule: Rule
    if optimizer.name == "sgd":
        rule = DelayedNesterov(made, span.runs, span.size, update.momentum)
    else:
        moments = Moments(span.size, optimizer.betas, optimizer.weight_decay)
        rule = AdamW(made, span.runs, moments, update.look_ahead)
    return SpanParts(made, rule, rate, dense)


def _no_rate(g: int) -> float:
    return 1.0
