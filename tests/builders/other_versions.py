"""The chart and the operator's image as they would be at another version."""

import shutil
from pathlib import Path
from typing import Any, Final

import yaml

from builders.releases import CHART, image_names
from deepseek_operator.api.crd import TEMPLATE_FILE, definition
from deepseek_runtime.contract.version import VERSION
from testcluster import images

_VERSION: Final = "deepseek_runtime/contract/version.py"


def newer_chart(folder: Path, version: str) -> Path:
    """A copy of the chart at that version."""
    chart = folder / CHART.name
    shutil.copytree(CHART, chart)
    file = chart / "Chart.yaml"
    text = file.read_text()
    assert f"ersion: {VERSION}\n" in text
    file.write_text(text.replace(f"ersion: {VERSION}\n", f"ersion: {version}\n"))
    return chart


def newer_operator(folder: Path, version: str) -> Path:
    """The archive of an image like this checkout's operator, which says that it is of that version."""
    repository, tag = image_names()
    lines = (
        f"FROM {repository}/operator:{tag}",
        "USER 0",
        f'RUN sed -i \'s/"{VERSION}"/"{version}"/\' /opt/dsj/lib/python3*/site-packages/{_VERSION}',
        "USER 65532:65532",
    )
    (folder / "Dockerfile").write_text("\n".join(lines))
    return images.derived(folder, "operator", version)


def with_older_definition(folder: Path) -> Path:
    """The chart with a definition that lacks a field of the spec and what the status got later, and keeps no others."""
    chart = folder / CHART.name
    shutil.copytree(CHART, chart)
    made: dict[str, Any] = definition()
    made["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    schema = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    run_policy = schema["spec"]["properties"]["runPolicy"]
    del run_policy["properties"]["ttlSecondsAfterFinished"]
    run_policy["default"].pop("ttlSecondsAfterFinished", None)
    for field in ("recoveries", "restartsTotal"):
        del schema["status"]["properties"][field]
    schema["status"].pop("x-kubernetes-preserve-unknown-fields", None)
    text = yaml.safe_dump(made, sort_keys=False, width=1_000_000).replace("{{", '{{ "{{" }}')
    (folder / CHART.name / Path(TEMPLATE_FILE).relative_to("charts/deepseek-operator")).write_text(text)
    return chart
