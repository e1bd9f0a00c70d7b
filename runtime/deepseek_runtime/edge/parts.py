"""Codec and rule of a span, as the config says."""

from deepseek_runtime import schedule
from deepseek_runtime.compression import SpanCodec, codec_for, tensors_of
from deepseek_runtime.compression.momentum import Correction
from deepseek_runtime.contract.config import JobConfig, Optimizer
from deepseek_runtime.protocol.settings import settings_of
from deepseek_runtime.protocol.span import SpanParts
from deepseek_runtime.rules import AdamW, DelayedNesterov, Linear, Moments, Rule
from deepseek_runtime.space import Space


def codec(config: JobConfig, space: Space, index: int) -> SpanCodec:
    return codec_for(space.spans[index].runs, config.training.compression, tensors_of(space, index))


def correction(config: JobConfig) -> Correction | None:
    """The worker's momentum, if compression is Deep Gradient Compression."""
    compression = config.training.compression
    if compression.method != "dgc":
        return None
    return Correction(compression.momentum, compression.ratio, compression.warmup_steps)


def span_parts(config: JobConfig, space: Space, index: int, samples: int) -> SpanParts:
    """`local`: the linear rule, or outer momentum. `gradient`: the optimizer's, its learning rate a function of g."""
    training = config.training
    made = codec(config, space, index)
    dense = training.compression.method == "none" and not training.compression.rules
    every = training.compression.publish_every
    span = space.spans[index]
    update = training.update
    if update.mode == "local":
        if update.outer_momentum:
            outer = DelayedNesterov(made, span.runs, span.size, update.outer_momentum)
            return SpanParts(made, outer, _no_rate, dense, every)
        return SpanParts(made, Linear(made, span.runs), _no_rate, dense, every)
    plan = settings_of(config).plan(samples)
    optimizer = training.optimizer or Optimizer()

    def rate(g: int) -> float:
        return schedule.learning_rate(optimizer, plan.first_step(g), plan.steps)

    rule: Rule
    if optimizer.name == "sgd":
        # Of Deep Gradient Compression the workers have the momentum.
        momentum = 0.0 if training.compression.method == "dgc" else update.momentum
        rule = DelayedNesterov(made, span.runs, span.size, momentum)
    else:
        moments = Moments(span.size, optimizer.betas, optimizer.weight_decay)
        rule = AdamW(made, span.runs, moments, update.look_ahead)
    return SpanParts(made, rule, rate, dense, every)


def _no_rate(g: int) -> float:
    return 1.0
