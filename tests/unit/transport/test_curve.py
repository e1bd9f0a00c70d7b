"""Keys of a job, and who is let in."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from builders.posts import Posts, posts_over
from deepseek_runtime.transport import Keys, KeysError, Message, Post, load_keys, make_job_keys


def test_key_files_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make_job_keys(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert names == dict.fromkeys(["server.public", "server.secret", "worker.public", "worker.secret"], 0o600)


def test_a_worker_needs_no_servers_secret(tmp_path: Path) -> None:
    make_job_keys(tmp_path)
    (tmp_path / "server.secret").unlink()
    keys = load_keys(tmp_path, "worker")
    assert keys.server_public == (tmp_path / "server.public").read_bytes().strip()
    with pytest.raises(KeysError, match=r"server\.secret"):
        load_keys(tmp_path, "server")


def test_a_server_admits_both_roles(tmp_path: Path) -> None:
    make_job_keys(tmp_path)
    server, worker = load_keys(tmp_path, "server"), load_keys(tmp_path, "worker")
    assert server.allowed == {server.public, worker.public}
    assert worker.server_public == server.public


def test_secrets_are_not_printed(tmp_path: Path) -> None:
    make_job_keys(tmp_path)
    keys = load_keys(tmp_path, "worker")
    assert keys.secret.decode() not in repr(keys)


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda file: file.unlink(), id="missing"),
        pytest.param(lambda file: file.write_bytes(b""), id="empty"),
        pytest.param(lambda file: file.write_bytes(b"\xff" * 40), id="no text"),
        pytest.param(lambda file: file.write_bytes(b"x" * 39), id="short"),
        pytest.param(lambda file: file.write_bytes(zmq.curve_keypair()[1]), id="another's"),
    ],
)
def test_bad_key_files_are_named(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    make_job_keys(tmp_path)
    harm(tmp_path / "worker.secret")
    with pytest.raises(KeysError, match=r"worker\.secret"):
        load_keys(tmp_path, "worker")


def test_a_workers_key_cannot_listen(tmp_path: Path) -> None:
    make_job_keys(tmp_path)
    with Post("worker-0-0", load_keys(tmp_path, "worker")) as post, pytest.raises(ValueError, match="server's keys"):
        post.listen("tcp://127.0.0.1:0")


def refused_stranger(posts: Posts, stranger: Post, reason: str) -> None:
    server, _ = posts.pair()
    stranger.dial("server-0-0", f"tcp://127.0.0.1:{_port(server)}")
    stranger.send("server-0-0", Message("let me in"))
    posts._open.append(stranger)
    posts.got.setdefault(stranger.identity, [])
    posts.until(lambda: server.refused[reason] > 0)
    assert server.peers() == {"worker-0-0"}
    assert posts.got["server-0-0"] == []
    server.send("worker-0-0", Message("still there"))
    posts.until(lambda: posts.kinds("worker-0-0") == ["still there"])


def _port(server: Post) -> int:
    assert server._visitors is not None
    return int(server._visitors.router.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0").rpartition(":")[2])


def test_another_jobs_worker_is_refused(tmp_path: Path) -> None:
    make_job_keys(tmp_path / "other")
    theirs = load_keys(tmp_path / "other", "worker")
    with posts_over("curve", tmp_path) as posts:
        ours = posts.keys("worker-1-0")
        assert ours is not None
        keys = Keys("worker", theirs.public, theirs.secret, ours.server_public, ours.allowed)
        refused_stranger(posts, Post("worker-1-0", keys), "stranger")


def test_a_worker_cannot_pass_for_a_server(tmp_path: Path) -> None:
    with posts_over("curve", tmp_path) as posts:
        refused_stranger(posts, Post("server-1-0", posts.keys("worker-1-0")), "role")


def test_a_member_without_keys_is_not_heard(tmp_path: Path) -> None:
    with posts_over("curve", tmp_path) as posts:
        server, _ = posts.pair()
        plain = Post("worker-1-0", None)
        posts._open.append(plain)
        posts.got["worker-1-0"] = []
        plain.dial("server-0-0", f"tcp://127.0.0.1:{_port(server)}")
        plain.send("server-0-0", Message("let me in"))
        posts.until(lambda: plain.refused["handshake"] > 0)
        assert server.peers() == {"worker-0-0"}


def test_a_worker_talks_to_no_server_of_another_job(tmp_path: Path) -> None:
    make_job_keys(tmp_path / "other")
    with posts_over("curve", tmp_path) as posts, Post("server-0-0", load_keys(tmp_path / "other", "server")) as false:
        worker = posts.make("worker-0-0")
        worker.dial("server-0-0", false.listen("tcp://127.0.0.1:0"))
        worker.send("server-0-0", Message("secret"))
        for _ in range(20):
            assert false.receive(0.01) == []
            worker.receive(0.01)
        assert worker.peers() == set()
