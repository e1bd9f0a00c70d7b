"""The CustomResourceDefinition, made of the models: `python -m deepseek_operator.api.crd FOLDER` (`make crds`).

Under FOLDER it writes crds/deepseekjobs.yaml, for `kubectl apply`, and the same as a template of the chart, which helm
then upgrades (it never upgrades what lies in a chart's own crds/) and never deletes.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from deepseek_operator.api import changes, rules
from deepseek_operator.api.job import MAX_JOB_NAME, DeepseekJob, JobSpec
from deepseek_operator.api.pods import Pod
from deepseek_operator.api.reserved import pod_validations
from deepseek_operator.api.schema import Schema, Validations, structural
from deepseek_operator.api.section_rules import SECTION_RULES
from deepseek_operator.api.stored_status import StoredStatus
from deepseek_operator.api.validation import Validation
from deepseek_runtime.contract.names import API_VERSION, GROUP, KIND, PLURAL, SHORT_NAME

CRD_FILE = Path("crds/deepseekjobs.yaml")
TEMPLATE_FILE = Path("charts/deepseek-operator/templates/crds.yaml")
_HEADER = "# Made from the models in operator/deepseek_operator/api by `make crds`; do not edit.\n"
_KEEPS: Schema = {"x-kubernetes-preserve-unknown-fields": True}
"""Where another version of the operator may have fields of its own: what the API server does not know it drops, also of
what it stored before, and with it what the operator goes on from."""

Column = tuple[str, str, str, str, int]
COLUMNS: tuple[Column, ...] = (
    ("Phase", "string", ".status.phase", "What the job is doing", 0),
    ("Step", "string", ".status.columns.step", "Steps done, of all", 0),
    ("Workers", "string", ".status.columns.workers", "Workers ready, of those desired", 0),
    ("Servers", "string", ".status.columns.servers", "Parameter servers ready, of those desired", 0),
    ("Loss", "string", ".status.columns.loss", "The training loss", 0),
    ("Checkpoint", "date", ".status.columns.checkpoint", "Age of the newest complete checkpoint", 0),
    ("Restarts", "integer", ".status.restartsTotal", "Members that were replaced", 0),
    ("Age", "date", ".metadata.creationTimestamp", "", 0),
    ("Message", "string", ".status.message", "What keeps the job from training", 1),
)
"""Name, type, path, description, priority (1: in `-o wide` only)."""


def definition() -> dict[str, Any]:
    """The CustomResourceDefinition as data."""
    major_version = API_VERSION.removeprefix(f"{GROUP}/")
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": [SHORT_NAME],
                "categories": ["all"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": major_version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _root()},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.workers.replicas",
                            "statusReplicasPath": ".status.workers.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": list(_columns()),
                }
            ],
        },
    }


def crd_text() -> str:
    """crds/deepseekjobs.yaml."""
    return _HEADER + _yaml(definition())


def template_text() -> str:
    """The chart's copy: with its guard, kept by `helm uninstall`, and braces of texts out of helm's sight."""
    made = definition()
    made["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    body = _yaml(made).replace("{{", '{{ "{{" }}')
    guard = '{{- if .Values.crds.enabled }}\n{{- include "dsj.crds.unowned" . }}\n'
    return f"{_HEADER}{guard}{body}{{{{- end }}}}\n"


def _root() -> Schema:
    validations = _validations()
    return {
        "type": "object",
        "description": " ".join((DeepseekJob.__doc__ or "").split()),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": structural(JobSpec, validations),
            "status": _status(),
        },
        "x-kubernetes-validations": [rule.manifest() for rule in _names()],
    }


def _status() -> Schema:
    made = structural(StoredStatus, {}) | _KEEPS
    made["properties"]["progress"] |= _KEEPS
    made["properties"]["recoveries"]["items"] |= _KEEPS
    # Filled in by the API server, so that the columns show something before the operator has seen the job.
    made["default"] = {}
    return made


def _validations() -> Validations:
    found: dict[Any, list[Validation]] = {
        JobSpec: [
            *(rule.validation() for rule in (*rules.RULES, *rules.CLUSTER_RULES)),
            *changes.transitions(),
        ],
        Pod: [*pod_validations()],
    }
    for rule in SECTION_RULES:
        if rule.cel:
            found.setdefault(rule.section, []).append(rule.validation())
    return found


def _names() -> Iterator[Validation]:
    yield Validation(
        f"size(self.metadata.name) <= {MAX_JOB_NAME}",
        "is too long for the names of members, <job>-worker-1023-99999, which end at 63 characters; "
        f"right: at most {MAX_JOB_NAME} characters",
        "metadata.name",
        "FieldValueInvalid",
    )
    yield Validation(
        'self.metadata.name.matches("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")',
        "is no name for the labels of members; right: small letters, digits and '-', with a letter or digit at both "
        "ends",
        "metadata.name",
        "FieldValueInvalid",
    )


def _columns() -> Iterator[dict[str, Any]]:
    for name, type_, path, description, priority in COLUMNS:
        column = {"name": name, "type": type_, "jsonPath": path}
        if description:
            column["description"] = description
        yield column | ({"priority": priority} if priority else {})


def _yaml(data: dict[str, Any]) -> str:
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def files() -> dict[Path, str]:
    """What is made, by its path in the repository."""
    return {CRD_FILE: crd_text(), TEMPLATE_FILE: template_text()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the files, or says which of them differ; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deepseek_operator.api.crd", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file differs")
    parser.add_argument("root", type=Path, help="top folder of the checkout")
    options = parser.parse_args(arguments)
    root: Path = options.root
    stale = [path for path, text in files().items() if not (root / path).is_file() or (root / path).read_text() != text]
    if options.check:
        if stale:
            print(f"not as the models are: {', '.join(map(str, stale))}; run make crds", file=sys.stderr)  # noqa: T201
        return 1 if stale else 0
    for path in stale:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(files()[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
