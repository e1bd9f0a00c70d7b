"""Rules that join several fields. Each is a pure test with the sentence that people read; docs/reference/manifests.md
has a heading for each combination that a measurement forbids, and issue 2 of 3 makes CEL of the same table.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deepseek_operator.api.job import JobSpec
from deepseek_operator.api.problems import Kind, Problem

PAGE = "docs/reference/manifests.md"


@dataclass(frozen=True, slots=True)
class Rule:
    """`broken(spec)` is true when the rule is broken."""

    kind: Kind
    fields: tuple[str, ...]
    """All that it reads, as the YAML spells them; the first is the one that the message is about."""
    broken: Callable[[JobSpec], bool]
    message: Callable[[JobSpec], str]
    right: str
    see: str = ""

    def check(self, spec: JobSpec) -> Problem | None:
        if not self.broken(spec):
            return None
        see = f"{PAGE}#{self.see}" if self.see else ""
        return Problem(self.kind, self.fields[0], self.message(spec), self.right, see=see)


def problems_of(spec: JobSpec) -> Iterator[tuple[Rule, Problem]]:
    """Every rule that a spec breaks, whose fields are each right by themselves."""
    for rule in RULES:
        problem = rule.check(spec)
        if problem is not None:
            yield rule, problem


def _one_of(kind: str, both: bool, first: str, second: str, where: Callable[[JobSpec], tuple[object, object]]) -> Rule:
    def broken(spec: JobSpec) -> bool:
        given = [value is not None for value in where(spec)]
        return all(given) if both else not any(given)

    parent, name = second.rsplit(".", 1)
    other = first.rsplit(".", 1)[1]
    if both:
        message = f"cannot stand beside {other}: the two exclude each other"
        return Rule("exclusive", (second, first), broken, lambda _: message, f"one of {other} and {name}")
    return Rule("required", (parent, first, second), broken, lambda _: f"has no {kind}", f"one of {other} and {name}")


def _code(spec: JobSpec) -> tuple[object, object]:
    code = spec.training.code
    return (None, None) if code is None else (code.config_map, code.folder)


def _says(text: str) -> Callable[[JobSpec], str]:
    return lambda _: text


def _optimizer_name(spec: JobSpec) -> str:
    return spec.training.optimizer.name if spec.training.optimizer is not None else "adamw"


def _is_gradient(spec: JobSpec) -> bool:
    return spec.training.update.mode == "gradient"


_T = "spec.training"
_W = "spec.workers"


def _of_topk(name: str, read: Callable[[JobSpec], object]) -> Rule:
    return Rule(
        "combination",
        (f"{_T}.compression.{name}", f"{_T}.compression.method"),
        lambda s: s.training.compression.method == "none" and read(s) is not None,
        _says("has no meaning with method none, which sends all values as they are"),
        "leave it out, or method: topk",
    )


RULES: tuple[Rule, ...] = (
    _one_of("task or script", True, f"{_T}.task", f"{_T}.script", lambda s: (s.training.task, s.training.script)),
    _one_of("task or script", False, f"{_T}.task", f"{_T}.script", lambda s: (s.training.task, s.training.script)),
    _one_of("end", True, f"{_T}.steps", f"{_T}.epochs", lambda s: (s.training.steps, s.training.epochs)),
    _one_of("end", False, f"{_T}.steps", f"{_T}.epochs", lambda s: (s.training.steps, s.training.epochs)),
    _one_of("place of the code", True, f"{_T}.code.configMap", f"{_T}.code.folder", _code),
    Rule(
        "required",
        (f"{_T}.code", f"{_T}.code.configMap", f"{_T}.code.folder"),
        lambda s: s.training.code is not None and _code(s) == (None, None),
        _says("names no place"),
        "one of configMap and folder",
    ),
    Rule(
        "combination",
        (f"{_W}.min", f"{_W}.max"),
        lambda s: s.workers.max is not None and s.workers.min > s.workers.max,
        lambda s: f"{s.workers.min} is more than max ({s.workers.max})",
        "min no larger than max",
    ),
    Rule(
        "combination",
        (f"{_W}.replicas", f"{_W}.min", f"{_W}.max"),
        lambda s: (
            (s.workers.max is None or s.workers.min <= s.workers.max)
            and not s.workers.min <= s.workers.replicas <= (s.workers.max or s.workers.replicas)
        ),
        lambda s: f"{s.workers.replicas} is not between min ({s.workers.min}) and max ({s.workers.max or 'none'})",
        "a number of workers within the bounds, or other bounds",
    ),
    Rule(
        "combination",
        (f"{_T}.optimizer.warmupSteps", f"{_T}.steps"),
        lambda s: (
            s.training.optimizer is not None
            and s.training.steps is not None
            and s.training.optimizer.warmup_steps >= s.training.steps > 0
        ),
        lambda s: (
            f"{s.training.optimizer and s.training.optimizer.warmup_steps} is not below steps ({s.training.steps})"
        ),
        "a warm-up that ends before the job does",
    ),
    Rule(
        "combination",
        (f"{_T}.optimizer.momentum", f"{_T}.optimizer.name"),
        lambda s: (
            s.training.optimizer is not None
            and s.training.optimizer.momentum is not None
            and s.training.optimizer.name != "sgd"
        ),
        lambda s: f"{_optimizer_name(s)} has no momentum: its first beta is what plays that part",
        "betas, or optimizer.name: sgd",
    ),
    Rule(
        "combination",
        (f"{_T}.optimizer.betas", f"{_T}.optimizer.name"),
        lambda s: (
            s.training.optimizer is not None
            and s.training.optimizer.betas is not None
            and s.training.optimizer.name == "sgd"
        ),
        _says("sgd has no betas"),
        "momentum, or optimizer.name: adamw",
    ),
    Rule(
        "combination",
        (f"{_T}.update.mode", f"{_T}.optimizer", f"{_T}.optimizer.name"),
        lambda s: _is_gradient(s) and _optimizer_name(s) != "sgd",
        lambda s: (
            f"gradient does not go with {_optimizer_name(s)}{'' if s.training.optimizer else ', the default'}: at the "
            "servers it would step along stale, compressed gradients, and its second moment forgives neither "
            "(measured loss 2.09 where 0.99 was due)"
        ),
        "optimizer.name: sgd, or update.mode: local, where the workers run the optimizer",
        "gradient-and-adam",
    ),
    Rule(
        "combination",
        (f"{_T}.update.localSteps", f"{_T}.update.mode"),
        lambda s: _is_gradient(s) and (s.training.update.local_steps or 1) > 1,
        lambda s: (
            f"{s.training.update.local_steps} local steps do not go with mode gradient: it pushes each batch's gradient"
        ),
        "localSteps: 1, or mode: local",
        "gradient-and-local-steps",
    ),
    Rule(
        "combination",
        (f"{_T}.optimizer.momentum", f"{_T}.update.mode"),
        lambda s: _is_gradient(s) and s.training.optimizer is not None and bool(s.training.optimizer.momentum),
        _says("in mode gradient the momentum is the servers'"),
        "training.update.momentum",
        "gradient-and-optimizer-momentum",
    ),
    Rule(
        "combination",
        (f"{_T}.optimizer.weightDecay", f"{_T}.update.mode"),
        lambda s: _is_gradient(s) and s.training.optimizer is not None and s.training.optimizer.weight_decay > 0,
        _says("has no effect in mode gradient, where the servers' rule is SGD without decay"),
        "a term in the loss, or mode: local",
        "gradient-and-weight-decay",
    ),
    Rule(
        "combination",
        (f"{_T}.update.momentum", f"{_T}.update.mode"),
        lambda s: not _is_gradient(s) and bool(s.training.update.momentum),
        lambda s: (
            f"{s.training.update.momentum:g} does not go with mode local: staleness already acts as momentum, and a "
            "second one ruins the result (measured loss 2.63 where 1.24 was due)"
        ),
        "no update.momentum (optimizer.momentum is the workers' own), or mode: gradient",
        "local-and-outer-momentum",
    ),
    Rule(
        "combination",
        (f"{_T}.staleness.max", f"{_T}.staleness.mode"),
        lambda s: s.training.staleness.mode == "async" and s.training.staleness.max is not None,
        _says("has no meaning in mode async, which has no bound"),
        "no max, or mode: bounded",
    ),
    Rule(
        "combination",
        (f"{_T}.staleness.max", f"{_T}.staleness.mode"),
        lambda s: s.training.staleness.mode == "sync" and s.training.staleness.max not in (None, 1),
        lambda s: f"{s.training.staleness.max} does not go with mode sync, whose bound is 1",
        "no max, or mode: bounded",
    ),
    _of_topk("ratio", lambda s: s.training.compression.ratio),
    _of_topk("valueBits", lambda s: s.training.compression.value_bits),
    Rule(
        "combination",
        (f"{_T}.precision.lossScale", f"{_T}.precision.compute"),
        lambda s: s.training.precision.loss_scale is not None and s.training.precision.compute != "float16",
        lambda s: f"has no meaning with compute {s.training.precision.compute}, whose small gradients do not vanish",
        "leave it out, or compute: float16",
    ),
)
