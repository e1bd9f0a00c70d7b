"""Which checkpoint a term or a person gets, and which are deleted, on a real folder."""

from pathlib import Path

import pytest

from builders.checkpoints import a_checkpoint, a_job
from deepseek_runtime.checkpoint.choose import choose, clean, find_checkpoint, find_named, list_checkpoints
from deepseek_runtime.checkpoint.index import index_path, read_index, write_index
from deepseek_runtime.checkpoint.local import LocalStore
from deepseek_runtime.checkpoint.store import StoreError
from deepseek_runtime.protocol.lineage import Base, Step

FIRST = Base(restored=Step(1, 0))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "job")


def damage(store: LocalStore, path: str) -> None:
    whole = (store.root / path).read_bytes()
    (store.root / path).write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])


def cut(store: LocalStore, path: str) -> None:
    (store.root / path).write_bytes((store.root / path).read_bytes()[:100])


def test_nothing_there_means_initialise(store: LocalStore) -> None:
    assert choose(store, 1) is None


def test_an_index_without_a_base_is_nothing(store: LocalStore) -> None:
    a_checkpoint(store, 1, 0)
    assert choose(store, 2) is None


def test_the_newest_of_the_lineage(store: LocalStore) -> None:
    a_job(store, {1: FIRST, 2: Base(restored=Step(1, 10))}, {1: [0, 10, 20], 2: [15]})
    choice = choose(store, 3)
    assert choice is not None
    assert choice.index.name == (2, 15)
    assert choice.passed_over == ()


def test_an_index_cut_short_is_passed_over_and_told(store: LocalStore) -> None:
    a_job(store, {1: FIRST}, {1: [0, 10, 20]})
    cut(store, "t1/step-20/index.json")
    choice = choose(store, 2)
    assert choice is not None
    assert choice.index.name == (1, 10)
    ((name, reason),) = choice.passed_over
    assert name == (1, 20)
    assert "cut short" in reason


def test_a_damaged_part_is_found_when_asked_or_told(store: LocalStore) -> None:
    a_job(store, {1: FIRST}, {1: [0, 10, 20]})
    damage(store, "t1/step-20/span-1.safetensors")
    shallow, deep, told = choose(store, 2), choose(store, 2, deep=True), choose(store, 2, skip={(1, 20), (1, 10)})
    assert shallow is not None
    assert shallow.index.step == 20
    assert deep is not None
    assert deep.index.step == 10
    assert "checksum" in deep.passed_over[0][1]
    assert told is not None
    assert told.index.step == 0


def test_a_restored_checkpoint_that_is_gone_is_told(store: LocalStore) -> None:
    a_job(store, {1: FIRST, 2: Base(restored=Step(1, 10))}, {1: [0]})
    choice = choose(store, 3)
    assert choice is not None
    assert choice.index.name == (1, 0)
    assert choice.passed_over[0][0] == (1, 10)


def test_all_damaged_is_an_error_and_not_a_fresh_start(store: LocalStore) -> None:
    a_job(store, {1: FIRST}, {1: [0]})
    cut(store, "t1/step-0/index.json")
    with pytest.raises(StoreError, match="no checkpoint that can be read") as caught:
        choose(store, 2)
    assert caught.value.kind == "missing"


def test_a_damaged_base_is_an_error_and_not_an_older_lineage(store: LocalStore) -> None:
    a_job(store, {1: FIRST, 2: Base(restored=Step(1, 0))}, {1: [0, 10]})
    cut(store, "t2/base.json")
    with pytest.raises(StoreError, match=r"t2/base\.json is damaged"):
        choose(store, 3)


def test_a_lost_base_is_an_error(store: LocalStore) -> None:
    a_job(store, {1: FIRST, 2: Base(continues=1), 3: Base(continues=2)}, {1: [0, 10]})
    store.delete_tree("t2/base.json")
    with pytest.raises(StoreError, match="term 2 has no base"):
        choose(store, 4)
    with pytest.raises(StoreError, match="nothing was deleted"):
        clean(store, 3, keep=1)


def test_clean_keeps_what_it_must(store: LocalStore) -> None:
    a_job(store, {1: FIRST, 2: Base(restored=Step(1, 10))}, {1: [0, 10, 20], 2: [15, 25]})
    store.put("t1/step-30/span-0.safetensors", b"never finished")
    store.put("t2/step-35/span-0.safetensors", b"in the making")
    (store.root / "t1/step-40").mkdir()
    (store.root / "t1/step-40/span-0.safetensors.unfinished-12345678").write_bytes(b"killed")
    store.put("fixed-0.safetensors", b"")
    assert clean(store, 2, keep=2) == [(1, 0), (1, 10), (1, 20), (1, 30), (1, 40)]
    assert sorted({path.rpartition("/")[0] for path in store.list(unfinished=True)}) == [
        "", "t1", "t2", "t2/step-15", "t2/step-25", "t2/step-35",
    ]  # fmt: skip
    assert clean(store, 2, keep=2) == []


def test_a_person_gets_the_newest_or_a_step(store: LocalStore) -> None:
    a_job(store, {1: FIRST, 2: Base(restored=Step(1, 10))}, {1: [0, 10, 20], 2: [20]})
    assert find_checkpoint(store.uri)[1].index.name == (2, 20)
    assert find_checkpoint(store.root.as_uri(), step=10)[1].index.name == (1, 10)
    assert find_checkpoint(f"{store.uri}/t1/step-20/index.json")[1].index.name == (1, 20)
    with pytest.raises(StoreError, match="no checkpoint of step 15; there are: 0, 10, 20"):
        find_checkpoint(store.uri, step=15)


def test_a_person_who_names_a_wrong_folder_is_told(store: LocalStore) -> None:
    with pytest.raises(StoreError, match="holds no checkpoint of a job") as caught:
        find_checkpoint(store.uri)
    assert caught.value.kind == "missing"
    with pytest.raises(StoreError, match="does not exist"):
        find_checkpoint(f"{store.uri}/t1/step-20/index.json")


def saved(folder: Path, created: str, *steps: int) -> LocalStore:
    """A job that saved its last checkpoint then."""
    store = LocalStore(folder)
    a_job(store, {1: FIRST}, {1: list(steps)})
    index = read_index(store, 1, steps[-1]).model_copy(update={"created": created})
    store.delete_tree(index_path(*index.name))
    write_index(store, index)
    return store


def test_of_all_jobs_of_a_name_the_one_that_saved_last_is_taken(tmp_path: Path) -> None:
    saved(tmp_path / "digits" / "aaaa", "2026-03-01T00:00:00Z", 0, 10)
    saved(tmp_path / "digits" / "bbbb", "2026-05-01T00:00:00Z", 0, 5)
    saved(tmp_path / "digits" / "cccc", "2026-04-01T00:00:00Z", 0, 20)
    (tmp_path / "digits" / "dddd").mkdir()  # nothing saved yet
    a_checkpoint(LocalStore(tmp_path / "digits" / "eeee"), 1, 0)  # no base yet
    uri = str(tmp_path / "digits")
    named = find_named(uri)
    assert (named.folder, named.choice.index.step) == ("bbbb", 5)
    assert named.path("t1/x") == "bbbb/t1/x"
    assert LocalStore(tmp_path / "digits").exists(named.path(named.choice.index.parts[0].path))
    assert find_named(uri, other_than="bbbb").folder == "cccc"
    assert find_checkpoint(uri, step=0)[1].index.step == 0
    own = find_named(f"{uri}/aaaa")
    assert (own.folder, own.path("x"), own.choice.index.step) == ("", "x", 10)
    with pytest.raises(StoreError, match="holds no checkpoint of a job"):
        find_named(str(tmp_path))  # one folder too high


def test_of_all_jobs_of_a_name_one_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    broken = saved(tmp_path / "aaaa", "2026-06-01T00:00:00Z", 0)
    cut(broken, "t1/step-0/index.json")
    with pytest.raises(StoreError, match="no checkpoint that can be read"):
        find_named(str(tmp_path))
    saved(tmp_path / "bbbb", "2026-05-01T00:00:00Z", 0)
    assert find_named(str(tmp_path)).folder == "bbbb"


def test_the_list_shows_all_and_what_is_wrong(store: LocalStore) -> None:
    a_job(store, {1: FIRST, 2: Base(restored=Step(1, 10))}, {1: [0, 10, 20], 2: [15]})
    cut(store, "t1/step-0/index.json")
    listed = list_checkpoints(store.uri)
    assert [(entry.name, entry.on_lineage, entry.index is not None) for entry in listed] == [
        ((2, 15), True, True),
        ((1, 10), True, True),
        ((1, 0), True, False),
        ((1, 20), False, True),
    ]
    assert listed[0].size == sum(path.stat().st_size for path in (store.root / "t2/step-15").glob("span-*"))
    assert "cut short" in listed[2].problem
