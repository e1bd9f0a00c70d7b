"""Bad manifests with the whole message of each: what `dsj validate` says, and the API server where it can."""

# ruff: noqa: ISC004 -- a message is one string over several lines, the last of each case

from builders.manifests import HEAD, RIGHT, with_spec, with_training
from deepseek_operator.api.problems import Kind

Cases = dict[Kind, list[tuple[str, str, str]]]
"""By class: name, manifest, message."""
SEE = "docs/reference/manifests.md"
_NODES = (
    "job.yaml:9: spec.workers.pod.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    ".nodeSelectorTerms[0].matchExpressions[0].values"
)


def _volume(kind: str) -> str:
    return with_spec(f"workers: {{pod: {{volumes: [{{name: a, {kind}}}]}}}}")


def _mount(text: str) -> str:
    return with_spec(
        f"workers: {{pod: {{volumes: [{{name: a, emptyDir: {{}}}}], volumeMounts: [{{name: a, {text}}}]}}}}"
    )


def _nodes(expression: str) -> str:
    return with_spec(
        "workers: {pod: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
        f"{{nodeSelectorTerms: [{{matchExpressions: [{expression}]}}]}}}}}}}}}}"
    )


def _rule(more: str) -> str:
    return with_training(f"compression: {{rules: [{{match: 'head.*', {more}}}]}}")


MISTAKES: Cases = {
    "type": [
        ("quoted number", with_training('batchSize: "32"'),
         'job.yaml:9: spec.training.batchSize: "32" is text because of its quotes; '
         "right: a whole number from 1 to 1000000"),
        ("text for a number", with_training("batchSize: many"),
         'job.yaml:9: spec.training.batchSize: "many" is text; right: a whole number from 1 to 1000000'),
        ("fraction for a whole number", with_training("batchSize: 1.5"),
         "job.yaml:9: spec.training.batchSize: 1.5 is not a whole number; right: a whole number from 1 to 1000000"),
        ("exponent for a whole number", with_training("batchSize: 1e3"),
         "job.yaml:9: spec.training.batchSize: 1000.0 is not a whole number (write 1000); "
         "right: a whole number from 1 to 1000000"),
        ("yes for a number", with_training("seed: yes"),
         "job.yaml:9: spec.training.seed: true is true or false; right: a whole number from 0 to 4294967295"),
        ("number for text", RIGHT.replace("name: digits", "name: 123"),
         "job.yaml:4: metadata.name: 123 is a whole number: put it in quotes; "
         "right: small letters, digits and '-', with a letter or digit at both ends"),
        ("list for a mapping", with_training("staleness: [bounded]"),
         "job.yaml:9: spec.training.staleness: is a list; right: a mapping with mode and max"),
        ("mapping for a list", with_spec("workers:", "  pod: {env: {OMP_NUM_THREADS: x}}"),
         "job.yaml:10: spec.workers.pod.env: is a mapping; right: a list, each item a mapping with name and value"),
        ("not a choice", with_training("optimizer: {schedule: Cosine}"),
         'job.yaml:9: spec.training.optimizer.schedule: "Cosine" is not known (did you mean cosine?); '
         "right: one of constant, cosine, linear"),
        ("not a choice of numbers", with_training("compression: {valueBits: 5}"),
         "job.yaml:9: spec.training.compression.valueBits: 5 is not known; right: one of 1, 2, 3, 4, 8, 16, 32"),
        ("no task", RIGHT.replace("tasks.digits:Digits", "tasks.digits"),
         'job.yaml:7: spec.training.task: "deepseek_runtime.tasks.digits" does not fit; '
         "right: module:Class, such as deepseek_runtime.tasks.digits:Digits"),
        ("quantity", with_spec("workers:", "  resources:", "    limits: {memory: 4 GB}"),
         'job.yaml:11: spec.workers.resources.limits.memory: "4 GB" does not fit; '
         "right: a quantity as Kubernetes writes it, such as 500m, 2 or 4Gi"),
        ("key that is no text", with_training("args: {1: 2}"),
         "job.yaml:9: spec.training.args: the key 1 is not text; right: put it in quotes"),
        ("argument that is no name", with_training("args: {hidden-size: 2}"),
         'job.yaml:9: spec.training.args.hidden-size: "hidden-size" cannot be a keyword argument; '
         "right: a Python name, such as hidden_size"),
        ("key of a label", with_spec("workers:", "  pod:", "    labels: {a b: c}"),
         'job.yaml:11: spec.workers.pod.labels["a b"]: the key "a b" does not fit; '
         "right: a key such as example.com/team"),
    ],
    "range": [
        ("too small", with_spec("servers: {replicas: 0}"),
         "job.yaml:9: spec.servers.replicas: 0 is too small; right: a whole number from 1 to 64"),
        ("too large", with_training("compression: {ratio: 5}"),
         "job.yaml:9: spec.training.compression.ratio: 5 is too large; right: a number from 0.000244140625 to 1"),
        ("steps beyond all bounds", RIGHT.replace("steps: 100", "steps: 10000000000000"),
         "job.yaml:8: spec.training.steps: 10000000000000 is too large; right: a whole number from 1 to 1000000000000"),
        ("beyond 64 bits", with_training("seed: 99999999999999999999"),
         'job.yaml:9: spec.training.seed: 99999999999999999999 does not fit 64 bits; '
         "right: a smaller number, or quotes around it"),
        ("NaN", with_training("optimizer:", "  lr: .nan"),
         "job.yaml:10: spec.training.optimizer.lr: .nan is not a finite number; right: a finite number"),
        ("infinity", with_training("optimizer:", "  clipNorm: 1e999"),
         "job.yaml:10: spec.training.optimizer.clipNorm: 1e999 is not a finite number; right: a finite number"),
        ("length of a list", with_training("optimizer: {betas: [0.9]}"),
         "job.yaml:9: spec.training.optimizer.betas: has 1 item; "
         "right: two numbers from 0 to below 1, such as [0.9, 0.999]"),
        ("item of a list", with_training("optimizer:", "  betas:", "  - 0.9", "  - 1"),
         "job.yaml:12: spec.training.optimizer.betas[1]: 1 is too large; right: a number from 0 to 0.999999"),
    ],
    "unknown": [
        ("snake case", with_training("batch_size: 32"),
         "job.yaml:9: spec.training.batch_size: is not a known field; did you mean batchSize?"),
        ("slip of the keyboard", with_training("optimiser: {lr: 1}"),
         "job.yaml:9: spec.training.optimiser: is not a known field; did you mean optimizer?"),
        ("right name, wrong place", with_spec("batchSize: 32"),
         "job.yaml:9: spec.batchSize: is not a known field; did you mean spec.training.batchSize?"),
        ("of another system", with_spec("checkpoint: {interval: 1}").replace("interval", "zeroStage"),
         "job.yaml:9: spec.checkpoint.zeroStage: is not a known field; "
         "right: one of everySteps, keep, storage, restoreFrom"),
        ("in a list", with_spec("servers: {pod: {env: [{nam: A}]}}"),
         "job.yaml:9: spec.servers.pod.env[0].nam: is not a known field; did you mean name?"),
    ],
    "required": [
        ("no training", HEAD + "  suspend: false\n",
         "job.yaml:5: spec.training: is missing; right: a mapping with task, script, code, args, steps, epochs, "
         "batchSize, seed, optimizer, update, staleness, compression, precision, evaluation and guard"),
        ("no value", with_training("batchSize:"),
         "job.yaml:9: spec.training.batchSize: has no value; "
         "right: a whole number from 1 to 1000000, or leave the line out"),
        ("no name", RIGHT.replace("  name: digits", "  namespace: digits"),
         "job.yaml:3: metadata.name: is missing; "
         "right: small letters, digits and '-', with a letter or digit at both ends"),
    ],
    "name": [
        ("too long", RIGHT.replace("name: digits", "name: " + "d" * 46),
         f'job.yaml:4: metadata.name: "{"d" * 46}" has 46 characters: the longest member, <job>-worker-1023-99999, '
         "must fit the 63 characters of Kubernetes; right: at most 45 characters"),
        ("not DNS", RIGHT.replace("name: digits", "name: My_Job"),
         'job.yaml:4: metadata.name: "My_Job" is no name for Kubernetes; '
         "right: small letters, digits and '-', with a letter or digit at both ends"),
    ],
    "yaml": [
        ("two colons", RIGHT + "    script: a: b\n",
         "job.yaml:9: cannot be read as YAML, column 14: mapping values are not allowed here; "
         "right: keys of one mapping equally far in, and quotes around a value that holds ': '"),
        ("tab", RIGHT + "\tseed: 1\n",
         "job.yaml:9: cannot be read as YAML, column 1: while scanning for the next token found character '\\t' that "
         "cannot start any token; right: indent with spaces: YAML forbids tabs"),
        ("open bracket", with_training("args: {width: 3"),
         "job.yaml:10: cannot be read as YAML, column 1: while parsing a flow mapping expected ',' or '}', but got "
         "'<stream end>'; right: a closing bracket, and commas between the items"),
        ("anchor in itself", with_training("args: &a {again: *a}"),
         "job.yaml:9: spec.training.args.again: is an anchor that contains itself; right: a plain value"),
    ],
    "duplicate": [
        ("given twice", with_training("seed: 1", "seed: 2"),
         "job.yaml:10: spec.training.seed: is given twice; the first stands in line 9; right: keep one of the two"),
    ],
    "document": [
        ("another version", RIGHT.replace("v1alpha1", "v1"),
         'job.yaml:1: apiVersion: "deepseek.dev/v1" is not known; right: deepseek.dev/v1alpha1'),
        ("kind misspelt", RIGHT.replace("DeepseekJob", "DeepSeekJob"),
         'job.yaml:2: kind: "DeepSeekJob" is not known; right: DeepseekJob'),
        ("two jobs", RIGHT + "---\n" + RIGHT.replace("digits", "other"),
         "job.yaml:10: the file holds 2 DeepseekJobs: digits, other; right: one job a file"),
        ("no job", "kind: ConfigMap\nmetadata: {name: a}\ndata: {}\n---\nkind: Secret\n",
         "job.yaml:1: holds no DeepseekJob but Secret in line 5, the ConfigMap a; right: kind: DeepseekJob"),
        ("empty", "# nothing\n", "job.yaml:1: holds no DeepseekJob but nothing; right: kind: DeepseekJob"),
        ("no mapping", "- a\n- b\n", "job.yaml:1: the document is a list; right: a mapping"),
    ],
    "scheme": [
        ("unknown scheme", with_spec("checkpoint: {storage: {uri: s4://bucket/a}}"),
         'job.yaml:9: spec.checkpoint.storage.uri: "s4://bucket/a": the scheme s4 is not known; did you mean s3?; '
         "right: a folder, or a URI such as file:///folder, s3://bucket/folder or gs://bucket/folder"),
        ("memory", with_spec("checkpoint: {storage: {uri: memory://a}}"),
         'job.yaml:9: spec.checkpoint.storage.uri: "memory://a": memory lives in the memory of one process, and the '
         "others would not see it; right: a folder, or a URI such as file:///folder, s3://bucket/folder or "
         "gs://bucket/folder"),
        ("read only", with_spec("checkpoint: {restoreFrom: 'https://host/a'}"),
         'job.yaml:9: spec.checkpoint.restoreFrom: "https://host/a": https can be read but not written; '
         "right: a folder, or a URI such as file:///folder, s3://bucket/folder or gs://bucket/folder"),
        ("a job as a store", with_spec("checkpoint: {storage: {uri: 'job://old'}}"),
         'job.yaml:9: spec.checkpoint.storage.uri: "job://old": job names another job, for restoreFrom alone; '
         "right: a folder, or a URI such as file:///folder, s3://bucket/folder or gs://bucket/folder"),
        ("a job of elsewhere", with_spec("checkpoint: {restoreFrom: 'job://team/old'}"),
         'job.yaml:9: spec.checkpoint.restoreFrom: "job://team/old": names no job; '
         "right: job://NAME, of a job whose checkpoints are in the same storage"),
        ("two slashes", with_spec("checkpoint: {storage: {uri: file://folder}}"),
         "job.yaml:9: spec.checkpoint.storage.uri: \"file://folder\": names a host between '//' and the path; "
         "right: file:/// and the path, or the bare path"),
    ],
}  # fmt: skip
"""One mistake each."""

COMBINATIONS: Cases = {
    "exclusive": [
        ("task and script", with_training("script: train.py"),
         "job.yaml:9: spec.training.script: cannot stand beside task: the two exclude each other; "
         "right: one of task and script"),
        ("steps and epochs", with_training("epochs: 3"),
         "job.yaml:9: spec.training.epochs: cannot stand beside steps: the two exclude each other; "
         "right: one of steps and epochs"),
        ("ConfigMap and folder", with_training("code:", "  configMap: a", "  folder: b"),
         "job.yaml:11: spec.training.code.folder: cannot stand beside configMap: the two exclude each other; "
         "right: one of configMap and folder"),
        ("uri and volume", with_spec("checkpoint: {storage: {uri: s3://a/b, pvc: {claimName: c}}}"),
         "job.yaml:9: spec.checkpoint.storage.pvc: cannot stand beside uri: the two exclude each other; "
         "right: one of uri and pvc"),
    ],
    "required": [
        ("no end", RIGHT.replace("    steps: 100\n", ""),
         "job.yaml:6: spec.training: has no end; right: one of steps and epochs"),
        ("nothing to train", HEAD + "  training: {steps: 1}\n",
         "job.yaml:6: spec.training: has no task or script; right: one of task and script"),
        ("empty code", with_training("code: {}"),
         "job.yaml:9: spec.training.code: names no place; right: one of configMap and folder"),
    ],
    "combination": [
        ("secret of no store", with_spec("checkpoint: {storage: {secret: a}}"),
         "job.yaml:9: spec.checkpoint.storage.secret: opens the store that uri names, and there is no uri; "
         "right: uri, or no secret"),
        ("gradient and adam", with_training("optimizer: {name: adam}", "update: {mode: gradient}"),
         "job.yaml:10: spec.training.update.mode: gradient with adam does not go with compression topk: its second "
         "moment is of what was sent, so what compression left out is never made good (measured loss 2.29 where 1.31 "
         "was due); right: compression.method: none, or optimizer.name: sgd, or update.mode: local, where the workers "
         f"run the optimizer (see {SEE}#gradient-and-adam)"),
        ("gradient and the default", with_training("update: {mode: gradient}"),
         "job.yaml:9: spec.training.update.mode: gradient with adamw, the default, does not go with compression topk: "
         "its second moment is of what was sent, so what compression left out is never made good (measured loss 2.29 "
         "where 1.31 was due); right: compression.method: none, or optimizer.name: sgd, or update.mode: local, where "
         f"the workers run the optimizer (see {SEE}#gradient-and-adam)"),
        ("momentum of the servers' adam",
         with_training("optimizer: {name: adam}", "update: {mode: gradient, momentum: 0.9}",
                       "compression: {method: none}"),
         "job.yaml:10: spec.training.update.momentum: is sgd's: the first beta of adam and adamw plays that part; "
         "right: optimizer.betas, or optimizer.name: sgd"),
        ("look-ahead of sgd", with_training("optimizer: {name: sgd}", "update: {mode: gradient, lookAhead: 2}"),
         "job.yaml:10: spec.training.update.lookAhead: is of mode gradient with adam or adamw, whose moments say where "
         "the weights are going; right: no lookAhead"),
        ("outer momentum of gradients",
         with_training("optimizer: {name: sgd}", "update: {mode: gradient, outerMomentum: 0.5}"),
         "job.yaml:10: spec.training.update.outerMomentum: is of mode local; the servers' rule of mode gradient has a "
         "momentum of its own; right: update.momentum with sgd, optimizer.betas with adamw"),
        ("gradient and local steps",
         with_training("optimizer: {name: sgd}", "update: {mode: gradient, localSteps: 8}"),
         "job.yaml:10: spec.training.update.localSteps: 8 local steps do not go with mode gradient: it pushes each "
         f"batch's gradient; right: localSteps: 1, or mode: local (see {SEE}#gradient-and-local-steps)"),
        ("gradient and the optimizer's momentum",
         with_training("optimizer: {name: sgd, momentum: 0.9}", "update: {mode: gradient}"),
         "job.yaml:9: spec.training.optimizer.momentum: in mode gradient the momentum is the servers'; "
         f"right: training.update.momentum (see {SEE}#gradient-and-optimizer-momentum)"),
        ("gradient and decay",
         with_training("optimizer: {name: sgd, weightDecay: 0.01}", "update: {mode: gradient}"),
         "job.yaml:9: spec.training.optimizer.weightDecay: has no effect in mode gradient, where of the "
         "servers' rules only adamw has a decay; right: a term in the loss, or optimizer.name: adamw, or mode: local "
         f"(see {SEE}#gradient-and-weight-decay)"),
        ("outer momentum", with_training("update: {momentum: 0.9}"),
         "job.yaml:9: spec.training.update.momentum: 0.9 does not go with mode local: staleness already acts as "
         "momentum, and a second one ruins the result (measured loss 2.63 where 1.24 was due); right: no "
         "update.momentum (optimizer.momentum is the workers' own), or update.outerMomentum at that price "
         f"(see {SEE}#local-and-outer-momentum)"),
        ("a roll-back before smaller steps", with_training("guard: {mode: act, slowAfter: 8, rollBackAfter: 4}"),
         "job.yaml:9: spec.training.guard.rollBackAfter: is less than slowAfter: the job would go back before smaller "
         "steps were tried; right: at least slowAfter, or maxRollBacks: 0 for no roll-back"),
        ("bits of nothing", with_training("compression: {method: none, valueBits: 2}"),
         "job.yaml:9: spec.training.compression.valueBits: has no meaning with method none; "
         "right: leave it out, or method: topk or dgc or quantised"),
        ("ratio of nothing", with_training("compression: {method: none, ratio: 0.1}"),
         "job.yaml:9: spec.training.compression.ratio: has no meaning with method none; "
         "right: leave it out, or method: topk or dgc"),
        ("rank of no matrices", with_training("compression: {rank: 4}"),
         "job.yaml:9: spec.training.compression.rank: has no meaning with method topk; "
         "right: leave it out, or method: lowrank"),
        ("momentum of sparse differences", with_training("compression: {momentum: 0.9}"),
         "job.yaml:9: spec.training.compression.momentum: has no meaning with method topk; "
         "right: leave it out, or method: dgc"),
        ("warm-up of a ratio that is fixed", with_training("compression: {warmupSteps: 9}"),
         "job.yaml:9: spec.training.compression.warmupSteps: has no meaning with method topk; "
         "right: leave it out, or method: dgc"),
        ("gradient compression of no gradients", with_training("compression: {method: dgc}"),
         "job.yaml:9: spec.training.compression.method: dgc corrects the momentum of gradients, and mode local sends "
         "differences of weights, in which the worker's own optimizer has put its momentum already; "
         f"right: method: topk, or update.mode: gradient (see {SEE}#dgc-and-momentum)"),
        ("momentum at both ends",
         with_training(
             "optimizer: {name: sgd}", "update: {mode: gradient, momentum: 0.9}", "compression: {method: dgc}"
         ),
         "job.yaml:10: spec.training.update.momentum: is the servers', and method dgc has its momentum in the workers: "
         f"two of them ruin the result; right: compression.momentum (see {SEE}#dgc-and-momentum)"),
        ("rare publications of sync", with_training("compression: {publishEvery: 0.5}", "staleness: {mode: sync}"),
         "job.yaml:9: spec.training.compression.publishEvery: does not go with mode sync, where each pull holds every "
         "push; right: 0, or staleness.mode: bounded"),
        ("bound of async", with_training("staleness: {mode: async, max: 4}"),
         "job.yaml:9: spec.training.staleness.max: has no meaning in mode async, which has no bound; "
         "right: no max, or mode: bounded"),
        ("bound of sync", with_training("staleness: {mode: sync, max: 4}"),
         "job.yaml:9: spec.training.staleness.max: 4 does not go with mode sync, whose bound is 1; "
         "right: no max, or mode: bounded"),
        ("loss scale", with_training("precision: {compute: bfloat16, lossScale: {init: 8}}"),
         "job.yaml:9: spec.training.precision.lossScale: has no meaning with compute bfloat16, whose small gradients "
         "do not vanish; right: leave it out, or compute: float16"),
        ("momentum of adamw", with_training("optimizer: {momentum: 0.9}"),
         "job.yaml:9: spec.training.optimizer.momentum: adamw has no momentum: its first beta is what plays that part; "
         "right: betas, or optimizer.name: sgd"),
        ("betas of sgd", with_training("optimizer: {name: sgd, betas: [0.9, 0.99]}"),
         "job.yaml:9: spec.training.optimizer.betas: sgd has no betas; right: momentum, or optimizer.name: adamw"),
        ("warm-up longer than the job", with_training("optimizer: {warmupSteps: 100}"),
         "job.yaml:9: spec.training.optimizer.warmupSteps: 100 is not below steps (100); "
         "right: a warm-up that ends before the job does"),
        ("min above max", with_spec("workers: {replicas: 2, min: 3, max: 1}"),
         "job.yaml:9: spec.workers.min: 3 is more than max (1); right: min no larger than max"),
        ("replicas above max", with_spec("workers: {replicas: 9, max: 8}"),
         "job.yaml:9: spec.workers.replicas: 9 is not between min (1) and max (8); "
         "right: a number of workers within the bounds, or other bounds"),
        ("replicas below min", with_spec("workers: {min: 2}"),
         "job.yaml:9: spec.workers.replicas: 1 is not between min (2) and max (none); "
         "right: a number of workers within the bounds, or other bounds"),
        ("backup of one server", with_spec("servers: {backup: true}"),
         "job.yaml:9: spec.servers.backup: needs a second server, which holds what the first one has; "
         "right: replicas: 2 or more, or backup: false"),
        ("our label", with_spec("workers: {pod: {labels: {deepseek.dev/job: x}}}"),
         'job.yaml:9: spec.workers.pod.labels["deepseek.dev/job"]: is the operator\'s own; right: another prefix'),
        ("our environment", with_spec("servers: {pod: {env: [{name: DSJ_ROLE}]}}"),
         'job.yaml:9: spec.servers.pod.env[0].name: is the operator\'s own; right: a name without DSJ_'),
    ],
}  # fmt: skip
"""Of rules that join fields (rules.py)."""

INSIDE: Cases = {
    "combination": [
        ("bits that no quantiser has", with_training("compression: {method: quantised, valueBits: 2}"),
         "job.yaml:9: spec.training.compression.valueBits: is none that method quantised has; "
         "right: 1, 4, 8 or 16, or method: topk"),
        ("bits that no rule's quantiser has", _rule("method: quantised, valueBits: 3"),
         "job.yaml:9: spec.training.compression.rules[0].valueBits: is none that method quantised has; "
         "right: 1, 4, 8 or 16, or method: topk"),
        ("ratio of a rule", _rule("method: none, ratio: 0.1"),
         "job.yaml:9: spec.training.compression.rules[0].ratio: has no meaning with the rule's method; "
         "right: leave it out, or method: topk"),
        ("bits of a rule", _rule("method: lowrank, valueBits: 2"),
         "job.yaml:9: spec.training.compression.rules[0].valueBits: has no meaning with the rule's method; "
         "right: leave it out, or method: topk or quantised"),
        ("rank of a rule", _rule("method: topk, rank: 2"),
         "job.yaml:9: spec.training.compression.rules[0].rank: has no meaning with the rule's method; "
         "right: leave it out, or method: lowrank"),
        ("volume of ours", with_spec("workers: {pod: {volumes: [{name: dsj-data, emptyDir: {}}]}}"),
         "job.yaml:9: spec.workers.pod.volumes[0].name: is the operator's own; right: a name without dsj-"),
        ("no such volume", with_spec("workers: {pod: {volumeMounts: [{name: data, mountPath: /data}]}}"),
         "job.yaml:9: spec.workers.pod.volumeMounts: names a volume that is not among volumes; "
         "right: the name of one of volumes, or that volume"),
        ("folder of ours", _mount("mountPath: /etc/dsj/secrets"),
         "job.yaml:9: spec.workers.pod.volumeMounts[0].mountPath: lies in a folder that the members need as it is: "
         "/etc/dsj, /var/lib/dsj, /tmp, /proc, /sys, /dev; right: another folder, such as /data (/dev/shm is free)"),
        ("keys of another job", _volume("secret: {secretName: b-server-keys}"),
         "job.yaml:9: spec.workers.pod.volumes[0].secret.secretName: is the operator's own: keys of a job; "
         "right: a Secret whose name ends in none of -server-keys, -worker-keys"),
        ("keys as credentials", with_spec("checkpoint: {storage: {uri: 's3://a/b', secret: c-worker-keys}}"),
         "job.yaml:9: spec.checkpoint.storage.secret: is the operator's own: keys of a job; "
         "right: a Secret whose name ends in none of -server-keys, -worker-keys"),
        ("value of any", with_spec("workers: {pod: {tolerations: [{key: a, operator: Exists, value: b}]}}"),
         "job.yaml:9: spec.workers.pod.tolerations[0].value: has no meaning with operator Exists, which asks for the "
         "key alone; right: no value, or operator: Equal"),
        ("taint without key", with_spec("workers: {pod: {tolerations: [{value: b}]}}"),
         "job.yaml:9: spec.workers.pod.tolerations[0].operator: Equal compares with the value of a key, and there is "
         "none; right: a key, or operator: Exists for every taint"),
        ("seconds of no eviction", with_spec("workers: {pod: {tolerations: [{key: a, tolerationSeconds: 5}]}}"),
         "job.yaml:9: spec.workers.pod.tolerations[0].tolerationSeconds: has no meaning but with effect NoExecute; "
         "right: effect: NoExecute, or no tolerationSeconds"),
        ("values of existence", _nodes("{key: a, operator: Exists, values: [b]}"),
         f"{_NODES}: has no meaning with Exists and DoesNotExist, which ask for the key alone; "
         "right: no values, or operator: In"),
        ("no number", _nodes("{key: a, operator: Gt, values: [b]}"),
         f"{_NODES}: is not one whole number, which Gt and Lt compare with; "
         'right: one whole number in quotes, such as ["8"]'),
        ("the cluster's priority", with_spec("workers: {pod: {priorityClassName: system-node-critical}}"),
         "job.yaml:9: spec.workers.pod.priorityClassName: is the cluster's own: its pods push all others off a node; "
         "right: a PriorityClass without system-"),
        ("posing as the operator", with_spec("servers: {pod: {labels: {app.kubernetes.io/name: deepseek-operator}}}"),
         "job.yaml:9: spec.servers.pod.labels: app.kubernetes.io/name: deepseek-operator is by what the operator's own "
         "Services find their pods; right: another app.kubernetes.io/name"),
        ("protection switched off",
         with_spec("workers: {pod: {annotations: {container.apparmor.security.beta.kubernetes.io/main: unconfined}}}"),
         'job.yaml:9: spec.workers.pod.annotations["container.apparmor.security.beta.kubernetes.io/main"]: is not for '
         "users to set: it protects the node; right: another prefix"),
    ],
    "required": [
        ("in nothing", _nodes("{key: a, operator: In}"),
         f"{_NODES}: is empty, and In and NotIn compare with something; "
         "right: at least one value, or operator: Exists"),
        ("pods in nothing",
         with_spec("workers: {pod: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
                   "[{topologyKey: zone, labelSelector: {matchExpressions: [{key: a, operator: In}]}}]}}}}"),
         "job.yaml:9: spec.workers.pod.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"
         ".labelSelector.matchExpressions[0].values: is empty, and In and NotIn compare with something; "
         "right: at least one value, or operator: Exists"),
    ],
    "exclusive": [
        ("volume of two kinds", _volume("emptyDir: {}, secret: {secretName: b}"),
         "job.yaml:9: spec.workers.pod.volumes[0]: is not of exactly one kind; "
         "right: one of configMap, secret, emptyDir and persistentVolumeClaim"),
        ("volume of no kind", with_spec("workers: {pod: {volumes: [{name: a}]}}"),
         "job.yaml:9: spec.workers.pod.volumes[0]: is not of exactly one kind; "
         "right: one of configMap, secret, emptyDir and persistentVolumeClaim"),
    ],
    "type": [
        ("mount that climbs", _mount("mountPath: /data/../etc"),
         "job.yaml:9: spec.workers.pod.volumeMounts[0].mountPath: climbs; "
         "right: an absolute path without '..', such as /data"),
        ("folder that climbs", _mount("mountPath: /data, subPath: ../../etc"),
         "job.yaml:9: spec.workers.pod.volumeMounts[0].subPath: leaves the volume; "
         "right: a folder inside the volume, such as jobs/digits"),
        ("claim that climbs", with_spec("checkpoint: {storage: {pvc: {claimName: a, subPath: /etc}}}"),
         "job.yaml:9: spec.checkpoint.storage.pvc.subPath: leaves the volume; "
         "right: a folder inside the volume, such as jobs/digits"),
    ],
    "duplicate": [
        ("variable given twice", with_spec("workers: {pod: {env: [{name: A}, {name: A, value: b}]}}"),
         "job.yaml:9: spec.workers.pod.env: has two items of one name; right: one item for each name"),
        ("volume given twice",
         with_spec("workers: {pod: {volumes: [{name: a, emptyDir: {}}, {name: a, configMap: {name: b}}]}}"),
         "job.yaml:9: spec.workers.pod.volumes: has two items of one name; right: one item for each name"),
        ("mount given twice",
         with_spec("workers: {pod: {volumes: [{name: a, emptyDir: {}}], "
                   "volumeMounts: [{name: a, mountPath: /a}, {name: a, mountPath: /a}]}}"),
         "job.yaml:9: spec.workers.pod.volumeMounts: has two items of one mountPath; "
         "right: one item for each mountPath"),
    ],
}  # fmt: skip
"""Of rules inside one mapping (section_rules.py, reserved.py)."""

ONLY_IN_A_CLUSTER: list[tuple[str, str, str]] = [
    ("folder of code", with_training("code: {folder: .}"),
     "spec.training.code.folder: is a folder of one machine, which no pod can see; "
     "right: code.configMap: a ConfigMap of the job's namespace, one file a key"),
    ("script beside the manifest", RIGHT.replace("task: deepseek_runtime.tasks.digits:Digits", "script: train.py"),
     "spec.training.code: the folder of the manifest, where a script lies on one machine, is seen by no pod; "
     "right: code.configMap: a ConfigMap of the job's namespace that holds the script"),
    *(
        (f"store {uri}", with_spec(f"checkpoint: {{storage: {{uri: '{uri}'}}}}"),
         "spec.checkpoint.storage.uri: names no store that every pod can read and write; "
         "right: a URI such as s3://bucket/folder, or storage.pvc for a volume")
        for uri in ("runs", "/runs", "file:///runs", "FILE:///runs", "memory://a", "https://host/a", "a::s3://b",
                    "job://old")
    ),
    *(
        (f"restore {uri}", with_spec(f"checkpoint: {{restoreFrom: '{uri}'}}"),
         "spec.checkpoint.restoreFrom: names no store that every pod can read and write; "
         "right: job://NAME of a job of this namespace, a URI such as s3://bucket/folder, or file:///folder of a "
         "volume that the pods mount")
        for uri in ("runs", "file://runs", "memory://a", "job://a/b", "job://A", "job:a", "job://")
    ),
]  # fmt: skip
"""Right on one machine, or wrong there by another message: field, message and what would be right."""
