"""What every store must do, whatever it is made of."""

from collections.abc import Callable

import pytest

from deepseek_runtime.checkpoint.store import PIECE, Store, StoreError


def test_check_proves_that_it_can_be_written_and_leaves_nothing(store: Store) -> None:
    store.check()
    assert store.list(unfinished=True) == []


def test_put_then_get_from_another_client(store: Store, open_again: Callable[[], Store]) -> None:
    store.put("t1/step-0/index.json", b"{}")
    assert open_again().get("t1/step-0/index.json") == b"{}"
    store.put("t1/step-0/index.json", b"{1}")
    assert open_again().get("t1/step-0/index.json") == b"{1}"


def test_an_empty_file_is_a_file(store: Store) -> None:
    store.put("empty", b"")
    assert store.exists("empty")
    assert store.get("empty") == b""


def test_missing_files_are_missing(store: Store) -> None:
    assert not store.exists("t1/nothing")
    for read in (store.get, _read_through(store)):
        with pytest.raises(StoreError, match="does not exist") as caught:
            read("t1/nothing")
        assert caught.value.kind == "missing"


def test_exists_is_about_files_and_sees_what_others_write(store: Store, open_again: Callable[[], Store]) -> None:
    other = open_again()
    assert not store.exists("t1/base.json")
    other.put("t1/base.json", b"x")
    assert store.exists("t1/base.json")
    assert not store.exists("t1")


def test_list_is_recursive_relative_and_sorted(store: Store) -> None:
    assert store.list() == []
    assert store.list("t9") == []
    for path in ("t10/step-1/a", "t1/step-2/b", "t1/step-1/c", "fixed"):
        store.put(path, b"x")
    assert store.list() == ["fixed", "t1/step-1/c", "t1/step-2/b", "t10/step-1/a"]
    assert store.list("t1") == ["t1/step-1/c", "t1/step-2/b"]


def test_delete_tree_takes_a_folder_or_a_file_and_nothing_beside(store: Store) -> None:
    for path in ("t1/step-1/a", "t1/step-1/b", "t1/step-10/a", "t1/base.json"):
        store.put(path, b"x")
    store.delete_tree("t1/step-1")
    assert store.list() == ["t1/base.json", "t1/step-10/a"]
    store.delete_tree("t1/base.json")
    store.delete_tree("t1/step-1")
    assert store.list() == ["t1/step-10/a"]


def test_create_never_replaces(store: Store, open_again: Callable[[], Store]) -> None:
    assert store.create("t1/base.json", b"first")
    assert not open_again().create("t1/base.json", b"second")
    assert store.get("t1/base.json") == b"first"
    assert store.list(unfinished=True) == ["t1/base.json"]


def test_a_file_of_many_pieces_comes_back_as_written(store: Store) -> None:
    data = bytes(range(256)) * (9 * PIECE // 1024)
    with store.open_write("t1/step-1/span-0.safetensors") as sink:
        for start in range(0, len(data), PIECE // 3):
            sink.write(memoryview(data)[start : start + PIECE // 3])
    with store.open_read("t1/step-1/span-0.safetensors") as file:
        assert file.read(5) == data[:5]
        rest = b"".join(iter(lambda: file.read(100_000), b""))
    assert data[:5] + rest == data


def test_a_file_is_not_there_before_it_is_whole(store: Store, open_again: Callable[[], Store]) -> None:
    with store.open_write("t1/part") as sink:
        sink.write(b"a" * 1000)
        assert not open_again().exists("t1/part")
        assert open_again().list() == []
    assert open_again().list() == ["t1/part"]


@pytest.mark.parametrize("size", [1000, 9 << 20])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(store: Store, size: int) -> None:
    store.put("t1/part", b"old")

    def fail_half_way() -> None:
        with store.open_write("t1/part") as sink:
            sink.write(b"a" * size)
            raise RuntimeError("the caller's own")

    with pytest.raises(RuntimeError, match="the caller's own"):
        fail_half_way()
    assert store.get("t1/part") == b"old"
    assert store.list(unfinished=True) == ["t1/part"]


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../other", "t1//x", "t1/../../x", "t1/.", "a\\b", "a\0b"])
def test_no_path_leads_out(store: Store, path: str) -> None:
    for use in (store.get, store.exists, lambda path: store.put(path, b""), store.delete_tree):
        with pytest.raises(StoreError) as caught:
            use(path)
        assert caught.value.kind == "damaged"


def _read_through(store: Store) -> Callable[[str], bytes]:
    def read(path: str) -> bytes:
        with store.open_read(path) as file:
            return file.read()

    return read
