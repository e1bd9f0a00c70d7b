"""Posts of several members, driven in one thread."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepseek_runtime.contract.names import Member
from deepseek_runtime.transport import Keys, Message, Post, load_keys, make_job_keys

PATIENCE = 20.0
"""Seconds until a thing that never happens fails a test."""


class Posts:
    """transport: tcp, curve or ipc; folder: for keys and sockets. `got`: what each member received, in order."""

    def __init__(self, transport: str, folder: Path) -> None:
        self.transport = transport
        self._folder = folder
        self._open: list[Post] = []
        self.got: dict[str, list[tuple[str, Message]]] = {}
        if transport == "curve":
            make_job_keys(folder / "secrets")

    def keys(self, identity: str) -> Keys | None:
        if self.transport != "curve":
            return None
        return load_keys(self._folder / "secrets", Member.parse(identity).role)

    def make(self, identity: str, **options: Any) -> Post:
        post = Post(identity, self.keys(identity), **options)
        self.got.setdefault(identity, [])
        self._open.append(post)
        return post

    def listen(self, post: Post) -> str:
        return post.listen("ipc://*" if self.transport == "ipc" else "tcp://127.0.0.1:0")

    def pair(self, **options: Any) -> tuple[Post, Post]:
        """server-0-0, and worker-0-0 connected with it."""
        server, worker = self.make("server-0-0", **options), self.make("worker-0-0", **options)
        worker.dial(server.identity, self.listen(server))
        self.until(lambda: connected(server, worker), server, worker)
        return server, worker

    def until(self, reached: Callable[[], bool], *posts: Post) -> None:
        """Drives these posts (all, when none is named) until the condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < deadline, {post.identity: post.refused for post in self._open}
            for post in posts or self._open:
                self.got[post.identity] += post.receive(0.002)

    def kinds(self, identity: str) -> list[str]:
        return [message.kind for _, message in self.got[identity]]

    def fields(self, identity: str, name: str, kind: str | None = None) -> list[Any]:
        """The values of one field in the messages (of one kind), in order."""
        return [m.fields[name] for _, m in self.got[identity] if kind is None or m.kind == kind]

    def close(self, post: Post) -> None:
        self._open.remove(post)
        post.close(0.2)

    def close_all(self) -> None:
        for post in list(self._open):
            self.close(post)


@contextmanager
def posts_over(transport: str, folder: Path) -> Iterator[Posts]:
    posts = Posts(transport, folder)
    try:
        yield posts
    finally:
        posts.close_all()


def connected(*pair: Post) -> bool:
    """Whether each of the two sees the other."""
    one, other = pair
    return other.identity in one.peers() and one.identity in other.peers()
