"""What the operator asks the chart's store in a job's name before any pod."""

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from builders.checkpoints import a_job
from builders.manifests import RIGHT
from builders.store_servers import STORE_KEY as KEY
from builders.store_servers import closed_port
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.load import parse_manifest
from deepseek_operator.executors.own_store import look_in_store
from deepseek_operator.executors.render.parts import Owner
from deepseek_operator.executors.render.settings import Rendering
from deepseek_runtime.checkpoint.store import open_store
from deepseek_runtime.contract.store import job_folder, password_of, user_of
from deepseek_runtime.protocol.lineage import Base, Step

pytest.importorskip("wsgidav")
pytest.importorskip("webdav4")

UID, NEW = "11111111-0000-4000-8000-000000000000", "99999999-0000-4000-8000-000000000000"
NEXT = Owner("next", "team-a", NEW)


def asks(restore_from: str = "") -> DeepseekJob:
    job = parse_manifest(RIGHT, "job.yaml", Path()).job
    checkpoint = job.spec.checkpoint.model_copy(update={"restore_from": restore_from or None})
    return job.model_copy(update={"spec": job.spec.model_copy(update={"checkpoint": checkpoint})})


@pytest.fixture(scope="module")
def settings(url: str, folder: Path) -> Rendering:
    """Of an installation whose store has a job digits in team-a, and one that has saved nothing yet."""
    base = url.replace("https", "webdavs")
    for name in ("digits", "begun"):
        user = user_of("team-a", name, UID)
        options = {"auth": [user, password_of(KEY, user)], "verify": str(folder / "ca.crt")}
        store = open_store(f"{base}/{job_folder('team-a', name, UID)}", options)
        if name == "digits":
            a_job(store, {1: Base(restored=Step(1, 0))}, {1: [0, 20]})
        else:
            store.check()
        store.close()
    return Rendering(store_uri=base, store_key=KEY, store_ca=(folder / "ca.crt").read_text())


@pytest.mark.parametrize("named", ["", "job://digits"])
def test_a_job_that_may_begin(settings: Rendering, named: str) -> None:
    assert look_in_store(asks(named), NEXT, settings) is None


@pytest.mark.parametrize("named", ["digit", "begun", "next"])
def test_a_name_that_has_no_checkpoint(settings: Rendering, named: str) -> None:
    found = look_in_store(asks(f"job://{named}"), NEXT, settings)
    assert found is not None
    assert found.reason == "NothingToRestore"
    assert found.message.startswith(f"spec.checkpoint.restoreFrom is job://{named}, and no job {named} of ")
    assert "jobs with a folder there: " in found.message
    assert "digits" in found.message
    assert "leave restoreFrom out" in found.remedy


def test_a_job_of_the_same_name_before_it_is_another(settings: Rendering) -> None:
    assert look_in_store(asks("job://digits"), Owner("digits", "team-a", NEW), settings) is None
    again = look_in_store(asks("job://digits"), Owner("digits", "team-a", UID), settings)
    assert again is not None, "it cannot begin from itself"


def test_of_another_namespace_there_is_nothing(settings: Rendering) -> None:
    found = look_in_store(asks("job://digits"), Owner("next", "team-b", NEW), settings)
    assert found is not None
    assert found.reason == "NothingToRestore"
    assert "jobs with a folder there" not in found.message


@pytest.mark.parametrize("named", ["", "job://digits"])
def test_another_key_says_what_to_do(settings: Rendering, named: str) -> None:
    found = look_in_store(asks(named), NEXT, replace(settings, store_key=b"another key, as long as the first"))
    assert found is not None
    assert found.reason == "StoreRefuses"
    assert "401" in found.message
    assert "helm upgrade" in found.remedy


def test_a_store_that_cannot_be_asked_keeps_nobody_from_starting(settings: Rendering) -> None:
    closed = replace(settings, store_uri=f"webdavs://127.0.0.1:{closed_port()}")
    strange = replace(settings, store_ca="no certificate")
    stranger = replace(settings, store_ca=ssl.DER_cert_to_PEM_cert(b"\0"))
    for unsure in (closed, strange, stranger):
        assert look_in_store(asks("job://digit"), NEXT, unsure) is None


def test_of_half_a_listing_nothing_is_concluded(settings: Rendering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepseek_operator.executors.own_store.LONGEST", 200)
    assert look_in_store(asks("job://digit"), NEXT, settings) is None


def test_other_storages_are_left_to_the_members(settings: Rendering) -> None:
    job = asks("job://digit")
    storage = job.spec.checkpoint.storage.model_copy(update={"uri": "s3://bucket/folder"})
    checkpoint = job.spec.checkpoint.model_copy(update={"storage": storage})
    elsewhere = job.model_copy(update={"spec": job.spec.model_copy(update={"checkpoint": checkpoint})})
    assert look_in_store(elsewhere, NEXT, settings) is None
    assert look_in_store(job, NEXT, replace(settings, store_uri="memory://store")) is None
