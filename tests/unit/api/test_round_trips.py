"""Any job that the models allow survives being written and read, by both faces."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.manifests import RIGHT
from deepseek_operator.api.config import contract_training, intent_hash
from deepseek_operator.api.load import dump_job, parse_manifest, read_job, read_job_text, read_stored_job
from deepseek_operator.api.problems import ManifestError, Problem
from deepseek_runtime.contract.config import Training

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
COUNTS = st.integers(1, 10**6)
RATES = st.floats(0, 1000, allow_nan=False)
FACTORS = st.floats(0, 0.999)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


def mapping(**optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=optional)


LOCAL = {
    "optimizer": mapping(
        name=st.sampled_from(["adam", "adamw"]),
        lr=RATES,
        weightDecay=RATES,
        betas=st.lists(FACTORS, min_size=2, max_size=2),
        schedule=st.sampled_from(["constant", "cosine", "linear"]),
        clipNorm=st.floats(0.001, 1000),
    ),
    "update": mapping(
        mode=st.just("local"),
        localSteps=st.integers(1, 1000),
        outerMomentum=FACTORS,
        weight=st.sampled_from(["share", "one"]),
    ),
}
GRADIENT = {
    "optimizer": st.fixed_dictionaries({"name": st.just("sgd")}, optional={"lr": RATES}),
    "update": st.fixed_dictionaries({"mode": st.just("gradient")}, optional={"momentum": FACTORS}),
}
COMMON = {
    "batchSize": COUNTS,
    "seed": st.integers(0, 2**32 - 1),
    "args": st.dictionaries(st.from_regex(r"arg_[a-z]{1,5}", fullmatch=True), VALUES, max_size=3),
    "staleness": mapping(mode=st.just("bounded"), max=st.integers(1, 100)),
    "compression": mapping(ratio=st.floats(0.001, 1), valueBits=st.sampled_from([1, 2, 3, 4, 8, 16, 32])),
    "precision": st.just({"compute": "float16", "lossScale": {"init": 4}})
    | st.just({"compute": "bfloat16", "masters": "host"}),
    "evaluation": mapping(everySteps=st.integers(0, 1000)),
    "guard": mapping(
        mode=st.sampled_from(["off", "watch", "act"]), calmRanges=st.integers(1, 99), maxRollBacks=st.integers(0, 9)
    ),
}
TRAININGS = st.one_of(
    *(
        st.fixed_dictionaries({"task": st.just("a.b:C"), "steps": COUNTS, **kind}, optional=COMMON)
        for kind in (LOCAL, GRADIENT)
    )
)
JOBS = st.fixed_dictionaries(
    {
        "apiVersion": st.just("deepseek.dev/v1alpha1"),
        "kind": st.just("DeepseekJob"),
        "metadata": st.fixed_dictionaries({"name": NAMES}, optional={"namespace": NAMES}),
        "spec": st.fixed_dictionaries(
            {"training": TRAININGS},
            optional={
                "suspend": st.booleans(),
                "image": st.just("registry/image:tag"),
                "servers": mapping(replicas=st.integers(1, 64)),
                "workers": st.fixed_dictionaries(
                    {"replicas": st.integers(3, 8)}, optional={"min": st.integers(1, 3), "max": st.integers(8, 1024)}
                ),
                "checkpoint": mapping(everySteps=COUNTS, keep=st.integers(1, 9)),
                "runPolicy": mapping(backoffLimit=st.integers(0, 9), activeDeadlineSeconds=COUNTS),
            },
        ),
    }
)


def problems_of(text: str) -> tuple[Problem, ...]:
    """What is wrong with a manifest; nothing, if it is right."""
    try:
        parse_manifest(text, "job.yaml", Path("/nowhere"))
    except ManifestError as error:
        return error.problems
    return ()


@settings(max_examples=60, deadline=None)
@given(JOBS)
def test_a_job_that_is_right_reads_alike_by_both_faces_and_survives_being_written(data: dict[str, Any]) -> None:
    job = read_job(data)
    assert read_job_text(dump_job(job)) == job
    assert read_job(job.model_dump(by_alias=True)) == job
    assert parse_manifest(dump_job(job), "f", Path("/nowhere")).job == job


@settings(max_examples=60, deadline=None)
@given(JOBS)
def test_every_job_makes_a_training_section_that_survives_json(data: dict[str, Any]) -> None:
    job = read_job(data)
    training = contract_training(job.spec.training)
    assert Training.model_validate_json(training.model_dump_json()) == training
    assert intent_hash(job) == intent_hash(read_job_text(dump_job(job)))


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=":-[]{}#&*!|>'\"%@` \n\tab1,?~<.", max_size=40), st.integers(0, len(RIGHT)))
def test_whatever_is_typed_into_a_manifest_ends_in_a_job_or_in_messages(typed: str, at: int) -> None:
    problems = problems_of(RIGHT[:at] + typed + RIGHT[at:])
    assert all(problem.file == "job.yaml" and problem.message for problem in problems)


@settings(max_examples=100, deadline=None)
@given(VALUES, st.sampled_from(["metadata", "spec", "training", "workers", "args", "betas", "code"]))
def test_any_value_in_any_place_ends_in_a_job_or_in_messages(value: object, place: str) -> None:
    data: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {"training": {"task": "a:B", "steps": 1}}}
    spot = {
        "metadata": data,
        "spec": data,
        "training": data["spec"],
        "workers": data["spec"],
        "args": data["spec"]["training"],
        "betas": data["spec"]["training"].setdefault("optimizer", {}),
        "code": data["spec"]["training"],
    }[place]
    spot[place] = value
    text = yaml.safe_dump({"apiVersion": "deepseek.dev/v1alpha1", "kind": "DeepseekJob", **data}, allow_unicode=True)
    for problem in problems_of(text):
        assert problem.field.startswith(("metadata", "spec"))
        assert 1 <= problem.line <= len(text.splitlines())


def test_the_tolerant_face_passes_over_what_a_newer_operator_stored() -> None:
    job = read_job(
        {
            "metadata": {"name": "a", "uid": "x"},
            "spec": {"training": {"task": "a:B", "steps": 1, "newField": 1, "optimizer": None}, "queue": "q"},
            "status": {},
        }
    )
    assert job.spec.training.steps == 1
    assert job.spec.training.optimizer is None


def test_what_the_api_server_cannot_see_is_asked_when_its_job_is_read() -> None:
    data: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {"training": {"task": "a:B", "steps": 1, "args": {}}}}
    assert read_stored_job(data) == read_job(data)
    data["spec"]["training"]["args"] = {"hidden-size": 1}
    with pytest.raises(ManifestError, match=r"spec\.training\.args\.hidden-size: .*; right: a Python name"):
        read_stored_job(data)
