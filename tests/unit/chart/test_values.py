"""Values, their schema and their documentation name the same things; images are pinned as the rest is."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepseek_operator.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "deepseek-operator"
SHARED = {"resources", "podAnnotations", "podLabels", "nodeSelector", "tolerations", "affinity", "priorityClassName"}


def leaves(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and value and path.rsplit(".", 1)[-1] not in SHARED:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path


VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize("path", list(leaves(VALUES)))
def test_each_value_is_in_schema_and_docs(path: str) -> None:
    node = json.loads((CHART / "values.schema.json").read_text())
    for part in path.split("."):
        node = node["properties"][part]
    docs = (ROOT / "docs" / "install.md").read_text().partition("## Values")[2]
    head, _, last = path.rpartition(".")
    assert f"`{path}`" in docs or (f"`{head}." in docs and f"`.{last}`" in docs) or f"`{last}`" in docs, path


def test_every_object_of_the_schema_refuses_typos() -> None:
    def check(node: Any, path: str) -> None:
        if isinstance(node, dict):
            if "properties" in node and node.get("type") == "object":
                assert node.get("additionalProperties") is False, path
            for key, inner in node.items():
                check(inner, f"{path}/{key}")

    schema = json.loads((CHART / "values.schema.json").read_text())
    check(schema, "")
    assert schema["properties"]["global"]["additionalProperties"] is True


def test_the_chart_tells_the_operator_only_what_it_knows() -> None:
    template = (CHART / "templates" / "operator.yaml").read_text()
    told = set(re.findall(r"name: DSJ_OPERATOR_([A-Z_]+)", template))
    known = {name.upper() for name in Settings.__dataclass_fields__}
    assert told <= known
    assert {"INSTALL", "NAMESPACE", "IDENTITY", "ETCD", "STORE_URI", "STORE_KEY", "IMAGE"} <= told


def test_versions_agree() -> None:
    from deepseek_runtime.contract.version import VERSION

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == VERSION


def versions(name: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==([^ ;\\]+)", line):
            found.setdefault(match[1], set()).add(match[2])
    return found


@pytest.mark.parametrize("image", ["operator", "runtime"])
def test_images_have_the_versions_that_are_tested(image: str) -> None:
    tested, packed = versions("requirements.lock"), versions(f"images/{image}.lock")
    assert {name: found for name, found in packed.items() if found - tested.get(name, set())} == {}
    assert "torch" not in packed
    assert "--hash=sha256:" in (ROOT / "images" / f"{image}.lock").read_text()


def test_the_operators_image_has_no_numerics() -> None:
    assert not {"numpy", "torch", "numba", "pyzmq"} & set(versions("images/operator.lock"))


def test_no_host_is_named_but_that_of_the_base_image() -> None:
    for name in ("Dockerfile", "images/install.sh", "images/operator.lock", "images/runtime.lock", "images/build.lock"):
        text = (ROOT / name).read_text()
        assert not re.findall(r"https?://", text), name
    assert (ROOT / "Dockerfile").read_text().count("docker.io") == 1
