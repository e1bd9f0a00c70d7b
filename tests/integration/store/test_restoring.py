"""What restoreFrom names, in the chart's store: checkpoints of other jobs, as the members of a job get them."""

from pathlib import Path
from typing import Any

import pytest

from builders.checkpoints import a_checkpoint, a_job
from builders.store_servers import STORE_KEY as KEY
from deepseek_runtime.checkpoint.index import index_path, read_index, write_index
from deepseek_runtime.checkpoint.store import Store, StoreError, open_store
from deepseek_runtime.contract.config import Checkpoint, JobConfig, Training, Update
from deepseek_runtime.contract.store import job_folder, password_of, user_of
from deepseek_runtime.edge.finding import find, load_parts
from deepseek_runtime.protocol.effects import FindCheckpoint, LoadParts
from deepseek_runtime.protocol.lineage import Base, Step

pytest.importorskip("wsgidav")
pytest.importorskip("webdav4")

FIRST = Base(restored=Step(1, 0))
UIDS = {1: "11111111-0000-4000-8000-000000000000", 2: "22222222-0000-4000-8000-000000000000"}
NEW = "99999999-0000-4000-8000-000000000000"


def options(folder: Path, namespace: str, job: str, uid: str) -> dict[str, Any]:
    user = user_of(namespace, job, uid)
    return {"auth": [user, password_of(KEY, user)], "verify": str(folder / "ca.crt")}


def opened(url: str, folder: Path, namespace: str, job: str, uid: str) -> Store:
    return open_store(f"{_base(url)}/{job_folder(namespace, job, uid)}", options(folder, namespace, job, uid))


def config(url: str, folder: Path, namespace: str, restore_from: str, job: str = "next") -> JobConfig:
    return JobConfig(
        namespace=namespace,
        job=job,
        uid=NEW,
        etcd=("e:1",),
        training=Training(task="a:B", steps=1000, batch_size=4, seed=7, update=Update(local_steps=2)),
        checkpoint=Checkpoint(
            uri=f"{_base(url)}/{job_folder(namespace, job, NEW)}",
            restore_from=f"{_base(url)}/{restore_from}",
            storage_options=options(folder, namespace, job, NEW),
        ),
    )


def _base(url: str) -> str:
    return url.replace("https", "webdavs")


@pytest.fixture(scope="module")
def jobs(url: str, folder: Path) -> str:
    """Two jobs called digits in team-a, the second of which saved last; one called text."""
    for number, steps in ((1, [0, 20]), (2, [0, 8])):
        store = opened(url, folder, "team-a", "digits", UIDS[number])
        a_job(store, {1: FIRST}, {1: steps[:-1]})
        a_checkpoint(store, 1, steps[-1], fixed={})
        index = read_index(store, 1, steps[-1]).model_copy(update={"created": f"2026-0{number}-01T00:00:00Z"})
        store.delete_tree(index_path(*index.name))
        write_index(store, index)
        store.close()
    store = opened(url, folder, "team-a", "text", UIDS[1])
    a_job(store, {1: FIRST}, {1: [0]})
    store.close()
    return url


@pytest.mark.parametrize("job", ["next", "digits"])
def test_by_a_job_s_name_the_one_that_saved_last(jobs: str, folder: Path, job: str) -> None:
    """Also where the new job has the very name of the old ones."""
    mine = config(jobs, folder, "team-a", "team-a/digits", job)
    own = opened(jobs, folder, "team-a", job, NEW)
    found = find(mine, own, FindCheckpoint(1))
    assert found is not None
    assert (found.foreign, found.source.step, found.source.weights_only) == (True, 8, False)
    assert found.fixed is not None
    assert own.exists(found.fixed.path), "what is not trained is copied"
    # As another server does it, which was told only what to load.
    parts = load_parts(mine, own, LoadParts(1, 1, found.source, (0, 1)))
    assert {span: set(part.theta) for span, part in parts.items()} == {0: {8.0}, 1: {8.0}}
    own.close()


def test_by_a_folder_of_one_job(jobs: str, folder: Path) -> None:
    mine = config(jobs, folder, "team-a", f"team-a/digits/{UIDS[1]}")
    own = opened(jobs, folder, "team-a", "next", NEW)
    found = find(mine, own, FindCheckpoint(1))
    assert found is not None
    assert found.source.step == 20
    assert load_parts(mine, own, LoadParts(1, 1, found.source, (1,)))[1].ordinal == 20
    own.close()


def test_a_name_that_no_job_has(jobs: str, folder: Path) -> None:
    own = opened(jobs, folder, "team-a", "next", NEW)
    with pytest.raises(StoreError) as refused:
        find(config(jobs, folder, "team-a", "team-a/digit"), own, FindCheckpoint(1))
    assert refused.value.kind == "missing", "so the job ends with 66"
    assert refused.value.message == (
        f"checkpoint.restoreFrom: {_base(jobs)}/team-a/digit holds no checkpoint of a job; "
        "jobs that have stored something there: digits, text"
    )
    own.close()


def test_of_another_namespace_nothing_is_read(jobs: str, folder: Path) -> None:
    own = opened(jobs, folder, "team-b", "next", NEW)
    with pytest.raises(StoreError, match=r"checkpoint\.restoreFrom: .*refused") as refused:
        find(config(jobs, folder, "team-b", "team-a/digits"), own, FindCheckpoint(1))
    assert refused.value.kind == "denied"
    with pytest.raises(StoreError, match=r"holds no checkpoint of a job$"):
        find(config(jobs, folder, "team-b", "team-b/digits"), own, FindCheckpoint(1))
    own.close()
