"""Checks the Helm chart: `make chart-check`. Says at the end what was run, and what was left out and why.

helm lint --strict   also with the values of each variant below
helm-unittest        charts/deepseek-operator/tests
kubeconform          every variant, by the schemas of Kubernetes' own source; the examples by those of our definition
checkov              every variant; charts/checkov.yaml says what is not asked, and why

Tools come from the cache folder; what is not there is built from a pinned Go module or installed from PyPI.
CHART_CHECK=helm,kubeconform runs only these.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from testcluster import binaries
from testcluster.commands import CommandFailed, run
from testcluster.layout import cache

ROOT: Final = Path(__file__).resolve().parent.parent
CHART: Final = ROOT / "charts" / "deepseek-operator"
KUBECONFORM: Final = "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0"
UNITTEST: Final = "github.com/helm-unittest/helm-unittest/cmd/helm-unittest@v0.8.2"
CHECKOV: Final = "checkov==3.2.495"
NAMESPACE: Final = "dsj-system"
VARIANTS: Final[dict[str, tuple[str, ...]]] = {
    "default": (),
    "namespaced": ("watchNamespaces={team-a,team-b}", "rbac.aggregate=false"),
    "three": ("etcd.replicas=3", "operator.serviceMonitor.enabled=true", "commonLabels.team=ml"),
    "policies": (
        "operator.networkPolicy.enabled=true",
        "etcd.networkPolicy.enabled=true",
        "store.networkPolicy.enabled=true",
    ),
    "external": ("etcd.enabled=false", "etcd.external.endpoints={e-0.etcd:2379}", "etcd.external.secretName=admin"),
    "least": ("store.enabled=false", "operator.replicas=1", "crds.enabled=false"),
    "openshift": ("runAsUser=null", "store.tls=false", "store.persistence.mode=emptyDir"),
    "pulled": ("imageRegistry=registry.example.com/team", "imagePullSecrets[0].name=pull", "global.anything=1"),
}


class Unavailable(Exception):
    """A tool cannot be had here; the message says why."""


def say(text: str) -> None:
    print(f"chart-check: {text}", flush=True)


def built(module: str) -> Path:
    """A program of a Go module at one version, from the cache folder. Raises Unavailable."""
    name, version = module.rsplit("/", 1)[1].split("@")
    folder = cache() / f"{name}-{version}"
    program = folder / name
    if not program.exists():
        say(f"building {name} {version} (some minutes, once)")
        try:
            environment = {"GOBIN": str(folder), "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
            run(binaries.find_go(say), "install", module, environment=environment, timeout=1800)
        except (CommandFailed, binaries.GoMissing) as error:
            raise Unavailable(f"{name} cannot be built: {error}") from error
    return program


def checkov() -> Path:
    """Of a virtual environment of its own: it pins what others need in other versions. Raises Unavailable."""
    folder = cache() / CHECKOV.replace("==", "-")
    program = folder / "bin" / "checkov"
    if not program.exists():
        say(f"installing {CHECKOV} (once)")
        try:
            run(sys.executable, "-m", "venv", "--without-pip", folder, timeout=120)
            run("uv", "pip", "install", "--quiet", "--python", folder / "bin" / "python", CHECKOV, timeout=900)
        except (CommandFailed, OSError) as error:
            raise Unavailable(f"{CHECKOV} cannot be installed: {error}") from error
    return program


def helm() -> Path:
    """Raises Unavailable."""
    try:
        return binaries.build_missing(say) / "helm"
    except (CommandFailed, binaries.GoMissing) as error:
        raise Unavailable(f"helm cannot be built: {error}") from error


def settings(variant: str) -> list[str]:
    return [word for value in VARIANTS[variant] for word in ("--set", value)]


def check(*command: str | Path) -> bool:
    """Runs it and shows what it says if it fails."""
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    if ended.returncode:
        print((ended.stdout + ended.stderr).rstrip())
    return ended.returncode == 0


def lint() -> bool:
    program = helm()
    good = [check(program, "lint", "--strict", "--quiet", CHART, *settings(variant)) for variant in VARIANTS]
    return all(good)


def unittest() -> bool:
    return check(built(UNITTEST), CHART)


def render(folder: Path) -> list[Path]:
    program = helm()
    files = []
    for variant in VARIANTS:
        file = folder / f"{variant}.yaml"
        file.write_text(run(program, "template", "dsj", CHART, "--namespace", NAMESPACE, *settings(variant)))
        files.append(file)
    return files


def conform() -> bool:
    program = built(KUBECONFORM)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rendered = render(folder)
        examples = [
            file for file in sorted((ROOT / "examples").rglob("*.yaml")) if "apiVersion: deepseek" in file.read_text()
        ]
        write_schemas(folder, {kind_of(document) for file in rendered for document in documents(file)})
        location = f"{folder}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
        options = ["-strict", "-summary", "-schema-location", location, "-skip", "ServiceMonitor"]
        return check(program, *options, *rendered, *examples)


def security() -> bool:
    program = checkov()
    with tempfile.TemporaryDirectory() as name:
        options = ["--framework", "kubernetes", "--compact", "--quiet", "--skip-download"]
        # Which user pods run as is the namespace's affair there.
        rendered = [file for file in render(Path(name)) if file.stem != "openshift"]
        files = [word for file in rendered for word in ("-f", str(file))]
        return check(program, *options, "--config-file", ROOT / "charts" / "checkov.yaml", *files)


def documents(file: Path) -> Iterator[dict[str, Any]]:
    yield from (document for document in yaml.safe_load_all(file.read_text()) if document)


def kind_of(document: dict[str, Any]) -> tuple[str, str, str]:
    """(group, version, kind)"""
    group, _, version = str(document["apiVersion"]).rpartition("/")
    return group, version, str(document["kind"])


def write_schemas(folder: Path, kinds: set[tuple[str, str, str]]) -> None:
    """One JSON schema a kind, from the API description in Kubernetes' source and from crds/."""
    source = json.loads(
        run(binaries.find_go(say), "mod", "download", "-json", f"k8s.io/kubernetes@v{binaries.KUBERNETES}", timeout=900)
    )
    swagger = json.loads((Path(source["Dir"]) / "api" / "openapi-spec" / "swagger.json").read_text())
    definitions = swagger["definitions"]
    for name, definition in definitions.items():
        for of in definition.get("x-kubernetes-group-version-kind", []):
            if (of["group"], of["version"], of["kind"]) in kinds:
                schema = {"$ref": f"#/definitions/{name}", "definitions": _reached(name, definitions)}
                _write(folder, of["group"], of["version"], of["kind"], schema)
    for file in (ROOT / "crds").glob("*.yaml"):
        for definition in documents(file):
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = version["schema"]["openAPIV3Schema"]
                schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {}}
                _write(folder, spec["group"], version["name"], spec["names"]["kind"], _strict(schema))


def _write(folder: Path, group: str, version: str, kind: str, schema: dict[str, Any]) -> None:
    # kubeconform's KindSuffix: the first part of the group, and the version
    first = f"{group.split('.')[0]}-" if group else ""
    file = folder / f"{kind.lower()}-{first}{version}.json"
    file.write_text(json.dumps(schema))


def _strict(schema: Any) -> Any:
    """No other fields than those named, and numbers where Kubernetes takes them for strings."""
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    found = {key: value for key, value in schema.items() if not key.startswith("x-") and key != "description"}
    if str(schema.get("description", "")).startswith("Quantity is a fixed-point"):
        found["type"] = ["string", "number"]
    for key in ("items", "additionalProperties"):
        if key in found:
            found[key] = _strict(found[key])
    if "properties" in found:
        found["properties"] = {name: _strict(value) for name, value in found["properties"].items()}
        found.setdefault("additionalProperties", bool(schema.get("x-kubernetes-preserve-unknown-fields")))
    return found


def _reached(name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The definitions that one refers to, and those that these refer to."""
    found: dict[str, Any] = {}
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found[one] = _strict(definitions[one])
            waiting += re.findall(r'"#/definitions/([^"]+)"', json.dumps(found[one]))
    return found


def main() -> int:
    checks: dict[str, Callable[[], bool]] = {
        "helm": lint,
        "helm-unittest": unittest,
        "kubeconform": conform,
        "checkov": security,
    }
    wanted = [name for name in re.split(r"[, ]+", os.environ.get("CHART_CHECK", "")) if name] or list(checks)
    if unknown := set(wanted) - set(checks):
        say(f"CHART_CHECK names {', '.join(sorted(unknown))}: there are {', '.join(checks)}")
        return 2
    outcomes: dict[str, str] = dict.fromkeys(checks, "left out: not asked for")
    for name in wanted:
        try:
            outcomes[name] = "passed" if checks[name]() else "FAILED"
        except Unavailable as error:
            outcomes[name] = f"left out: {error}"
    for name, outcome in outcomes.items():
        say(f"{name:14} {outcome}")
    return 1 if "FAILED" in outcomes.values() else 0


if __name__ == "__main__":
    sys.exit(main())
