"""`spec.training`: what is trained, and how its updates travel."""

# ruff: noqa: RUF012 -- pydantic copies defaults; ruff does not see that Section is a model

from typing import Annotated, Any, Literal

from pydantic import Field

from deepseek_operator.api.fields import Factor, ObjectName, Right, Section, Steps, StepsOrNever


class Code(Section):
    """Where the user's code lies. Exactly one of the two; absent with `script`: the folder of the manifest."""

    config_map: ObjectName | None = None
    """A ConfigMap of the same namespace, one file a key. On one machine: a document of the same YAML file."""
    folder: Annotated[str, Field(min_length=1, max_length=4096), Right("a folder, relative to the manifest")] | None = (
        None
    )
    """A folder, relative to the manifest. Only on one machine."""


class Optimizer(Section):
    """The optimizer in each worker (`update.mode: local`), or the rule at the servers (`gradient`). A script in `local`
    brings its own; then only `schedule`, `warmupSteps` and `clipNorm` are read, and apply to it."""

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    """Which one; they are torch's."""
    lr: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.001
    """Learning rate at the top of the schedule. A script's own optimizer keeps its own."""
    momentum: Factor | None = None
    """`sgd` in `local` only; absent: 0."""
    weight_decay: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.0
    """Weight decay, as the named optimizer of torch means it; in `gradient` of adamw only."""
    betas: (
        Annotated[
            list[Annotated[float, Field(ge=0.0, le=0.999999)]],
            Field(min_length=2, max_length=2),
            Right("two numbers from 0 to below 1, such as [0.9, 0.999]"),
        ]
        | None
    ) = None
    """`adam` and `adamw` only; absent: [0.9, 0.999]."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """How the rate falls from its top to the last step: not at all, as a half cosine to 0, in a line to 0."""
    warmup_steps: StepsOrNever = 0
    """Steps in which the rate rises from 0 to its top."""
    clip_norm: Annotated[float, Field(ge=0.000001, le=1000000.0)] | None = None
    """Global norm at which a worker clips its gradients; absent: not clipped."""


class Update(Section):
    """What a push is."""

    mode: Literal["local", "gradient"] = "local"
    """`local`: the weight difference after `localSteps` steps of the worker's own optimizer. `gradient`: the gradient
    of one batch; the servers apply SGD with delayed Nesterov momentum, or AdamW with pulls that look ahead."""
    local_steps: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Batches a push; absent: 8 in `local`, 1 in `gradient` (where nothing else is possible)."""
    momentum: Factor | None = None
    """`gradient` with sgd only: of the servers' rule; absent: 0.9."""
    outer_momentum: Factor | None = None
    """`local` only: the servers add delayed Nesterov momentum to the workers' differences; absent: 0. It has its price
    in loss: docs/reference/manifests.md."""
    look_ahead: Annotated[float, Field(ge=0.0, le=10.0)] | None = None
    """`gradient` with adam or adamw only: how far ahead the weights are that workers are given, in times the pushes of
    the other workers between a pull and its push; absent: 2."""
    weight: Literal["share", "one"] = "share"
    """How much a push counts: its share of one turn of all workers, or 1 (for the test task `tally`)."""


class Staleness(Section):
    """How far workers may run apart."""

    mode: Literal["async", "bounded", "sync"] = "bounded"
    """`async`: no bound. `bounded`: nobody starts new work while a push is `max` pushes old. `sync`: one at a time."""
    max: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """`bounded` only; absent: 16."""


Ratio = Annotated[float, Field(ge=0.000244140625, le=1.0)]
ValueBits = Literal[1, 2, 3, 4, 8, 16, 32]
Rank = Annotated[int, Field(ge=1, le=255)]


class CompressionRule(Section):
    """How some tensors are compressed, by their names in the state dict."""

    match: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9_.*?-]+$", max_length=200),
        Right("a tensor's name, `*` for anything, such as head.*"),
    ]
    """Which tensors: a name, `*` for anything, `?` for one character."""
    method: Literal["none", "topk", "quantised", "lowrank"]
    """As `compression.method`."""
    ratio: Ratio | None = None
    """`topk` only; absent: 0.05."""
    value_bits: ValueBits | None = None
    """`topk`: absent: 2; `quantised`: 1, 4, 8 or 16; absent: 8."""
    rank: Rank | None = None
    """`lowrank` only; absent: 4."""


class Compression(Section):
    """How pushes, and what servers publish, are made small."""

    method: Literal["none", "topk", "quantised", "lowrank", "dgc"] = "topk"
    """`topk`: the largest values of each 4,096. `quantised`: all values in few bits. `lowrank`: matrices as products of
    two thin ones (PowerSGD). `dgc`: Deep Gradient Compression, for `update.mode: gradient`. What is left out is kept
    and added to the next push."""
    ratio: Ratio | None = None
    """`topk` and `dgc`: the part of the values that is sent, at least one of 4,096; absent: 0.05."""
    value_bits: ValueBits | None = None
    """Bits of a value that is sent. `topk` and `dgc`: 1 to 4 = sign and one of 1, 2, 4, 8 magnitudes; absent: 2.
    `quantised`: 1, 4, 8 or 16; absent: 8."""
    rank: Rank | None = None
    """`lowrank` only; absent: 4."""
    momentum: Factor | None = None
    """`dgc` only: of the workers, instead of `update.momentum`; absent: 0.9."""
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    """`dgc` only: steps in which the ratio falls from 1/4 to `ratio`; absent: 0."""
    publish_every: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """How often servers publish: after this part of a turn of all workers; 0.25 with 8 workers: each second push.
    0: after each push."""
    rules: Annotated[list[CompressionRule], Field(max_length=32)] = []
    """Tensors that are compressed otherwise. The first rule that matches counts; buffers match none."""


class LossScale(Section):
    """The loss scaler of `compute: float16`."""

    init: Annotated[float, Field(ge=1.0, le=1.0e15)] = 65536.0
    """The first factor."""
    growth: Annotated[float, Field(ge=1.0, le=1024.0)] = 2.0
    """By how much it grows after `interval` finite batches."""
    backoff: Annotated[float, Field(ge=0.000001, le=0.999999)] = 0.5
    """By how much it shrinks after a batch that was not finite."""
    interval: Steps = 2000
    """Finite batches until it grows."""


class Precision(Section):
    """The numbers in which a worker computes. Weights at the servers are FP32 always."""

    compute: Literal["float32", "bfloat16", "float16"] = "float32"
    """The type of autocast; float32: none."""
    loss_scale: LossScale | None = None
    """`float16` only; absent: its defaults."""
    masters: Literal["device", "host"] = "device"
    """Where FP32 weights and the optimizer's state are. `host`: in pinned host memory; a GPU holds the weights as
    `compute` reads them and their gradients, the optimizer steps on the CPU."""


class Evaluation(Section):
    """When one worker evaluates what the servers hold, while the others go on."""

    every_steps: StepsOrNever = 0
    """0: only at the end."""


class Guard(Section):
    """What is done about losses that are far above what the run so far makes plausible. Counted in ranges: pushes of
    all workers. docs/guard.md says how it judges."""

    mode: Literal["off", "watch", "act"] = "off"
    """`watch`: an event, no more. `act`: in steps, more precision, the update held back, smaller steps, at last the
    newest checkpoint again; all undone when losses are plausible again."""
    risk: Annotated[float, Field(ge=0.000000000001, le=0.01)] = 0.000001
    """Of each of its tests: the part of the ranges of a healthy run that it takes for a fault."""
    warmup_ranges: Annotated[int, Field(ge=8, le=100_000)] = 32
    """Ranges that are learnt from before anything is judged."""
    calm_ranges: Annotated[int, Field(ge=1, le=100_000)] = 32
    """Plausible ranges in a row after which all that was done is undone."""
    slow_after: Annotated[int, Field(ge=1, le=100_000)] = 3
    """Implausible ranges after which steps are made smaller."""
    slow_factor: Annotated[float, Field(ge=0.01, le=0.99)] = 0.5
    """What the learning rate is multiplied by then, and after a roll-back; at least an eighth is left."""
    roll_back_after: Annotated[int, Field(ge=1, le=100_000)] = 16
    """Implausible ranges in a row after which the job goes back to its newest checkpoint."""
    max_roll_backs: Annotated[int, Field(ge=0, le=100)] = 2
    """In the whole job; 0: never."""


class Training(Section):
    """What is trained, and how its updates travel."""

    task: (
        Annotated[
            str,
            Field(
                pattern=r"^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$", max_length=500
            ),
            Right("module:Class, such as deepseek_runtime.tasks.digits:Digits"),
        ]
        | None
    ) = None
    """`module:Class` of a Task; exactly one of `task` and `script`."""
    script: (
        Annotated[
            str,
            Field(pattern=r"^[^/\\][^\\]*\.py$", max_length=500),
            Right("a Python file inside the code's folder, such as train.py"),
        ]
        | None
    ) = None
    """A Python file in the code's folder that trains on a session; exactly one of `task` and `script`."""
    code: Code | None = None
    """Where the user's code lies; absent: what is installed (`task`), or the folder of the manifest (`script`)."""
    args: dict[str, Any] = {}
    """Keyword arguments of the Task, or `--key value` of the script."""
    steps: Steps | None = None
    """Batches of the whole job, by whomever trained; exactly one of `steps` and `epochs`."""
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Passes over the data set; exactly one of `steps` and `epochs`."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    """Samples that one worker trains in one forward and backward."""
    seed: Annotated[int, Field(ge=0, le=4_294_967_295)] = 0
    """Of shuffles, initial weights and random layers."""
    optimizer: Optimizer | None = None
    """Absent: the script's own; with `task`, adamw with its defaults."""
    update: Update = Update()
    """What a push is."""
    staleness: Staleness = Staleness()
    """How far workers may run apart."""
    compression: Compression = Compression()
    """How pushes, and what servers publish, are made small."""
    precision: Precision = Precision()
    """The numbers in which a worker computes."""
    evaluation: Evaluation = Evaluation()
    """When the model is evaluated."""
    guard: Guard = Guard()
    """What is done about implausible losses."""
