"""Spans as a server holds them, and pushes for them."""

import numpy as np

from deepseek_runtime.compression import codec_for
from deepseek_runtime.contract.config import Compression
from deepseek_runtime.protocol.messages import Lease, Push
from deepseek_runtime.protocol.span import Span, SpanParts
from deepseek_runtime.rules import DelayedNesterov, Linear, Rule
from deepseek_runtime.space import Space, TensorSpec


def span_of(mode: str, index: int = 0) -> Span:
    """dense, topk or nesterov: what its codec and rule are; span `index` of six, of random weights."""
    space = Space.build([TensorSpec("weight", (6 * 2 * 4096,), "float32")], spans=6)
    place = space.spans[index]
    codec = codec_for(place.runs, Compression(method="topk" if mode == "topk" else "none"), fast=False)
    rule: Rule = Linear(codec, place.runs)
    if mode == "nesterov":
        rule = DelayedNesterov(codec, place.runs, place.size, 0.9)
    theta = np.random.default_rng(index).standard_normal(place.size, np.float32)
    return Span(index, SpanParts(codec, rule, lambda g: 0.1, dense=mode != "topk"), theta, 1, 1, 1)


def push_of(span: Span, sequence: int) -> Push:
    """Range `sequence` - 1, with w = 1/2."""
    values = np.random.default_rng(100 + sequence).standard_normal(span.theta.size, np.float32)
    part = span.parts.codec.encode(values, values)
    return Push(1, 1, sequence, Lease(1, sequence, sequence - 1, 0, 0.5), 0.5, 8, {span.index: part}, {}, {})
