"""Rules that join several fields. Each is a pure test with the sentence that people read, and beside it the same in CEL
for the API server; docs/reference/manifests.md has a heading for each combination that a measurement forbids.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deepseek_operator.api.job import JobSpec
from deepseek_operator.api.problems import Kind, Problem
from deepseek_operator.api.storage import NAMES_A_JOB, REACHED_BY_PODS, is_reached_by_pods
from deepseek_operator.api.validation import Validation, filled

PAGE = "docs/reference/manifests.md"


@dataclass(frozen=True, slots=True)
class Rule:
    """`broken(spec)` is true when the rule is broken; `cel` is true of `self`, the spec, when it is kept."""

    kind: Kind
    fields: tuple[str, ...]
    """All that it reads, as the YAML spells them; the first is the one that the message is about."""
    broken: Callable[[JobSpec], bool]
    message: str | Callable[[JobSpec], str]
    right: str
    cel: str
    cel_message: tuple[str, ...] = ()
    """What `message` gives, in CEL: its format (`%d` for whole numbers, `%s` for the rest) and the values."""
    see: str = ""

    def check(self, spec: JobSpec) -> Problem | None:
        if not self.broken(spec):
            return None
        message = self.message if isinstance(self.message, str) else self.message(spec)
        return Problem(self.kind, self.fields[0], message, self.right, see=self._page())

    def validation(self) -> Validation:
        """The same for the API server."""
        rest = str(Problem(self.kind, "", "", self.right, see=self._page()))
        return Validation(
            self.cel,
            self.message + rest if isinstance(self.message, str) else f"does not go with the rest of the job{rest}",
            self.fields[0].removeprefix("spec").lstrip("."),
            "FieldValueRequired" if self.kind == "required" else "FieldValueForbidden",
            filled(self.cel_message[0] + rest, *self.cel_message[1:]) if self.cel_message else "",
        )

    def _page(self) -> str:
        return f"{PAGE}#{self.see}" if self.see else ""


def problems_of(spec: JobSpec, *, cluster: bool = False) -> Iterator[tuple[Rule, Problem]]:
    """Every rule that a spec breaks, whose fields are each right by themselves. cluster: as the API server asks."""
    for rule in (*RULES, *CLUSTER_RULES) if cluster else RULES:
        problem = rule.check(spec)
        if problem is not None:
            yield rule, problem


def _one_of(kind: str, both: bool, first: str, second: str, where: Callable[[JobSpec], tuple[object, object]]) -> Rule:
    def broken(spec: JobSpec) -> bool:
        given = [value is not None for value in where(spec)]
        return all(given) if both else not any(given)

    parent, name = second.rsplit(".", 1)
    other = first.rsplit(".", 1)[1]
    has = [f"has({field.replace('spec', 'self', 1)})" for field in (first, second)]
    there = f"!has({parent.replace('spec', 'self', 1)}) || " if parent in (f"{_T}.code", _S) else ""
    right = f"one of {other} and {name}"
    if both:
        message = f"cannot stand beside {other}: the two exclude each other"
        return Rule("exclusive", (second, first), broken, message, right, f"{there}!({has[0]} && {has[1]})")
    return Rule("required", (parent, first, second), broken, f"has no {kind}", right, f"{there}{has[0]} || {has[1]}")


def _code(spec: JobSpec) -> tuple[object, object]:
    code = spec.training.code
    return (None, None) if code is None else (code.config_map, code.folder)


def _store(spec: JobSpec) -> tuple[object, object]:
    return spec.checkpoint.storage.uri, spec.checkpoint.storage.pvc


def _optimizer_name(spec: JobSpec) -> str:
    return spec.training.optimizer.name if spec.training.optimizer is not None else "adamw"


def _is_gradient(spec: JobSpec) -> bool:
    return spec.training.update.mode == "gradient"


_T = "spec.training"
_W = "spec.workers"
_S = "spec.checkpoint.storage"
_NO_STORAGE = "!has(self.checkpoint.storage)"
_GRADIENT = 'self.training.update.mode == "gradient"'
_NO_OPTIMIZER = "!has(self.training.optimizer)"
_NAME = "self.training.optimizer.name"


_METHOD = "self.training.compression.method"


def _of_methods(name: str, read: Callable[[JobSpec], object], methods: tuple[str, ...]) -> Rule:
    """A field of `compression` that only these methods read."""
    others = " || ".join(f'{_METHOD} == "{method}"' for method in methods)
    return Rule(
        "combination",
        (f"{_T}.compression.{name}", f"{_T}.compression.method"),
        lambda s: s.training.compression.method not in methods and read(s) is not None,
        lambda s: f"has no meaning with method {s.training.compression.method}",
        f"leave it out, or method: {' or '.join(methods)}",
        f"!has(self.training.compression.{name}) || {others}",
        ("has no meaning with method %s", _METHOD),
    )


_SQUARED = (
    "its second moment is of what was sent, so what compression left out is never made good "
    "(measured loss 2.29 where 1.31 was due)"
)
_SECOND = (
    "staleness already acts as momentum, and a second one ruins the result (measured loss 2.63 where 1.24 was due)"
)


def _adam_at_servers(spec: JobSpec) -> bool:
    return _is_gradient(spec) and _optimizer_name(spec) != "sgd"


_ADAM_AT_SERVERS = f'{_GRADIENT} && ({_NO_OPTIMIZER} || {_NAME} != "sgd")'

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
        "names no place",
        "one of configMap and folder",
        "!has(self.training.code) || has(self.training.code.configMap) || has(self.training.code.folder)",
    ),
    _one_of("place of checkpoints", True, f"{_S}.uri", f"{_S}.pvc", _store),
    Rule(
        "combination",
        (f"{_S}.secret", f"{_S}.uri"),
        lambda s: s.checkpoint.storage.secret is not None and s.checkpoint.storage.uri is None,
        "opens the store that uri names, and there is no uri",
        "uri, or no secret",
        f"{_NO_STORAGE} || !has(self.checkpoint.storage.secret) || has(self.checkpoint.storage.uri)",
    ),
    Rule(
        "combination",
        (f"{_W}.min", f"{_W}.max"),
        lambda s: s.workers.max is not None and s.workers.min > s.workers.max,
        lambda s: f"{s.workers.min} is more than max ({s.workers.max})",
        "min no larger than max",
        "!has(self.workers.max) || self.workers.min <= self.workers.max",
        ("%d is more than max (%d)", "self.workers.min", "self.workers.max"),
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
        "(has(self.workers.max) && self.workers.min > self.workers.max) || "
        "(self.workers.min <= self.workers.replicas && "
        "(!has(self.workers.max) || self.workers.replicas <= self.workers.max))",
        (
            "%d is not between min (%d) and max (%s)",
            "self.workers.replicas",
            "self.workers.min",
            'has(self.workers.max) ? dyn(self.workers.max) : dyn("none")',
        ),
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
        f"{_NO_OPTIMIZER} || !has(self.training.steps) || self.training.optimizer.warmupSteps < self.training.steps",
        ("%d is not below steps (%d)", "self.training.optimizer.warmupSteps", "self.training.steps"),
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
        f'{_NO_OPTIMIZER} || !has(self.training.optimizer.momentum) || {_NAME} == "sgd"',
        ("%s has no momentum: its first beta is what plays that part", _NAME),
    ),
    Rule(
        "combination",
        (f"{_T}.optimizer.betas", f"{_T}.optimizer.name"),
        lambda s: (
            s.training.optimizer is not None
            and s.training.optimizer.betas is not None
            and s.training.optimizer.name == "sgd"
        ),
        "sgd has no betas",
        "momentum, or optimizer.name: adamw",
        f'{_NO_OPTIMIZER} || !has(self.training.optimizer.betas) || {_NAME} != "sgd"',
    ),
    Rule(
        "combination",
        (f"{_T}.update.mode", f"{_T}.compression.method", f"{_T}.optimizer", f"{_T}.optimizer.name"),
        lambda s: (
            _adam_at_servers(s)
            and {s.training.compression.method, *(rule.method for rule in s.training.compression.rules)} != {"none"}
        ),
        lambda s: (
            f"gradient with {_optimizer_name(s)}{'' if s.training.optimizer else ', the default,'} does not go with "
            f"compression {s.training.compression.method}: {_SQUARED}"
        ),
        "compression.method: none, or optimizer.name: sgd, or update.mode: local, where the workers run the optimizer",
        f'!({_ADAM_AT_SERVERS}) || (self.training.compression.method == "none" && '
        "(!has(self.training.compression.rules) || "
        'self.training.compression.rules.all(rule, rule.method == "none")))',
        (
            f"gradient with %s does not go with compression %s: {_SQUARED}",
            f'has(self.training.optimizer) ? {_NAME} : "adamw, the default,"',
            "self.training.compression.method",
        ),
        see="gradient-and-adam",
    ),
    Rule(
        "combination",
        (f"{_T}.update.momentum", f"{_T}.optimizer.name"),
        lambda s: _adam_at_servers(s) and s.training.update.momentum is not None,
        "is sgd's: the first beta of adam and adamw plays that part",
        "optimizer.betas, or optimizer.name: sgd",
        f"!({_ADAM_AT_SERVERS}) || !has(self.training.update.momentum)",
    ),
    Rule(
        "combination",
        (f"{_T}.update.lookAhead", f"{_T}.update.mode", f"{_T}.optimizer.name"),
        lambda s: not _adam_at_servers(s) and s.training.update.look_ahead is not None,
        "is of mode gradient with adam or adamw, whose moments say where the weights are going",
        "no lookAhead",
        f"({_ADAM_AT_SERVERS}) || !has(self.training.update.lookAhead)",
    ),
    Rule(
        "combination",
        (f"{_T}.update.outerMomentum", f"{_T}.update.mode"),
        lambda s: _is_gradient(s) and s.training.update.outer_momentum is not None,
        "is of mode local; the servers' rule of mode gradient has a momentum of its own",
        "update.momentum with sgd, optimizer.betas with adamw",
        f"!({_GRADIENT}) || !has(self.training.update.outerMomentum)",
    ),
    Rule(
        "combination",
        (f"{_T}.update.localSteps", f"{_T}.update.mode"),
        lambda s: _is_gradient(s) and (s.training.update.local_steps or 1) > 1,
        lambda s: (
            f"{s.training.update.local_steps} local steps do not go with mode gradient: it pushes each batch's gradient"
        ),
        "localSteps: 1, or mode: local",
        f"!({_GRADIENT}) || !has(self.training.update.localSteps) || self.training.update.localSteps == 1",
        (
            "%d local steps do not go with mode gradient: it pushes each batch's gradient",
            "self.training.update.localSteps",
        ),
        see="gradient-and-local-steps",
    ),
    Rule(
        "combination",
        (f"{_T}.optimizer.momentum", f"{_T}.update.mode"),
        lambda s: _is_gradient(s) and s.training.optimizer is not None and bool(s.training.optimizer.momentum),
        "in mode gradient the momentum is the servers'",
        "training.update.momentum",
        f"!({_GRADIENT}) || {_NO_OPTIMIZER} || !has(self.training.optimizer.momentum) || "
        "self.training.optimizer.momentum == 0.0",
        see="gradient-and-optimizer-momentum",
    ),
    Rule(
        "combination",
        (f"{_T}.optimizer.weightDecay", f"{_T}.update.mode"),
        lambda s: (
            _is_gradient(s)
            and s.training.optimizer is not None
            and s.training.optimizer.name != "adamw"
            and s.training.optimizer.weight_decay > 0
        ),
        "has no effect in mode gradient, where of the servers' rules only adamw has a decay",
        "a term in the loss, or optimizer.name: adamw, or mode: local",
        f'!({_GRADIENT}) || {_NO_OPTIMIZER} || {_NAME} == "adamw" || self.training.optimizer.weightDecay == 0.0',
        see="gradient-and-weight-decay",
    ),
    Rule(
        "combination",
        (f"{_T}.update.momentum", f"{_T}.update.mode"),
        lambda s: not _is_gradient(s) and bool(s.training.update.momentum),
        lambda s: f"{s.training.update.momentum:g} does not go with mode local: {_SECOND}",
        "no update.momentum (optimizer.momentum is the workers' own), or update.outerMomentum at that price",
        f"{_GRADIENT} || !has(self.training.update.momentum) || self.training.update.momentum == 0.0",
        (f"%s does not go with mode local: {_SECOND}", "self.training.update.momentum"),
        see="local-and-outer-momentum",
    ),
    Rule(
        "combination",
        (f"{_T}.staleness.max", f"{_T}.staleness.mode"),
        lambda s: s.training.staleness.mode == "async" and s.training.staleness.max is not None,
        "has no meaning in mode async, which has no bound",
        "no max, or mode: bounded",
        'self.training.staleness.mode != "async" || !has(self.training.staleness.max)',
    ),
    Rule(
        "combination",
        (f"{_T}.staleness.max", f"{_T}.staleness.mode"),
        lambda s: s.training.staleness.mode == "sync" and s.training.staleness.max not in (None, 1),
        lambda s: f"{s.training.staleness.max} does not go with mode sync, whose bound is 1",
        "no max, or mode: bounded",
        'self.training.staleness.mode != "sync" || !has(self.training.staleness.max) || '
        "self.training.staleness.max == 1",
        ("%d does not go with mode sync, whose bound is 1", "self.training.staleness.max"),
    ),
    _of_methods("ratio", lambda s: s.training.compression.ratio, ("topk", "dgc")),
    _of_methods("valueBits", lambda s: s.training.compression.value_bits, ("topk", "dgc", "quantised")),
    _of_methods("rank", lambda s: s.training.compression.rank, ("lowrank",)),
    _of_methods("momentum", lambda s: s.training.compression.momentum, ("dgc",)),
    _of_methods("warmupSteps", lambda s: s.training.compression.warmup_steps, ("dgc",)),
    Rule(
        "combination",
        (f"{_T}.compression.method", f"{_T}.update.mode"),
        lambda s: s.training.compression.method == "dgc" and not _is_gradient(s),
        "dgc corrects the momentum of gradients, and mode local sends differences of weights, in which the worker's "
        "own optimizer has put its momentum already",
        "method: topk, or update.mode: gradient",
        f'{_METHOD} != "dgc" || {_GRADIENT}',
        see="dgc-and-momentum",
    ),
    Rule(
        "combination",
        (f"{_T}.update.momentum", f"{_T}.compression.method"),
        lambda s: s.training.compression.method == "dgc" and _is_gradient(s) and bool(s.training.update.momentum),
        "is the servers', and method dgc has its momentum in the workers: two of them ruin the result",
        "compression.momentum",
        f'{_METHOD} != "dgc" || !({_GRADIENT}) || !has(self.training.update.momentum) || '
        "self.training.update.momentum == 0.0",
        see="dgc-and-momentum",
    ),
    Rule(
        "combination",
        (f"{_T}.compression.publishEvery", f"{_T}.staleness.mode"),
        lambda s: s.training.compression.publish_every > 0 and s.training.staleness.mode == "sync",
        "does not go with mode sync, where each pull holds every push",
        "0, or staleness.mode: bounded",
        'self.training.compression.publishEvery == 0.0 || self.training.staleness.mode != "sync"',
    ),
    Rule(
        "combination",
        (f"{_T}.precision.lossScale", f"{_T}.precision.compute"),
        lambda s: s.training.precision.loss_scale is not None and s.training.precision.compute != "float16",
        lambda s: f"has no meaning with compute {s.training.precision.compute}, whose small gradients do not vanish",
        "leave it out, or compute: float16",
        '!has(self.training.precision.lossScale) || self.training.precision.compute == "float16"',
        ("has no meaning with compute %s, whose small gradients do not vanish", "self.training.precision.compute"),
    ),
)

_NO_STORE = "names no store that every pod can read and write"

CLUSTER_RULES: tuple[Rule, ...] = (
    Rule(
        "combination",
        (f"{_T}.code.folder",),
        lambda s: s.training.code is not None and s.training.code.folder is not None,
        "is a folder of one machine, which no pod can see",
        "code.configMap: a ConfigMap of the job's namespace, one file a key",
        "!has(self.training.code) || !has(self.training.code.folder)",
    ),
    Rule(
        "required",
        (f"{_T}.code", f"{_T}.script"),
        lambda s: s.training.script is not None and s.training.code is None,
        "the folder of the manifest, where a script lies on one machine, is seen by no pod",
        "code.configMap: a ConfigMap of the job's namespace that holds the script",
        "!has(self.training.script) || has(self.training.code)",
    ),
    Rule(
        "scheme",
        (f"{_S}.uri",),
        lambda s: s.checkpoint.storage.uri is not None and not is_reached_by_pods(s.checkpoint.storage.uri),
        _NO_STORE,
        "a URI such as s3://bucket/folder, or storage.pvc for a volume",
        f"{_NO_STORAGE} || !has(self.checkpoint.storage.uri) || "
        f"{REACHED_BY_PODS.format('self.checkpoint.storage.uri')}",
    ),
    Rule(
        "scheme",
        (f"{_S.rsplit('.', 1)[0]}.restoreFrom",),
        lambda s: s.checkpoint.restore_from is not None and not is_reached_by_pods(s.checkpoint.restore_from, True),
        _NO_STORE,
        "job://NAME of a job of this namespace, a URI such as s3://bucket/folder, or file:///folder of a volume that "
        "the pods mount",
        '!has(self.checkpoint.restoreFrom) || self.checkpoint.restoreFrom.startsWith("file:///") || '
        f"{NAMES_A_JOB.format('self.checkpoint.restoreFrom')} || "
        f"{REACHED_BY_PODS.format('self.checkpoint.restoreFrom')}",
    ),
)
"""What only a cluster asks: these are right on one machine."""
