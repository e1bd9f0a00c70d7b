"""A member whose every link goes through a proxy that a test commands: `python -m faults.linked server|worker`.

In place of `python -m deepseek_runtime.server` (launch.start's `commands`). Each member listens on a socket of its own
(`address`; `links` is the job's folder `links`, a name alone) for lines

    cut server-1 | stall server-1 | heal server-1 | delay server-1 0.2      (server-1: any incarnation)
"""

import contextlib
import hashlib
import os
import runpy
import socket
import sys
import threading
from pathlib import Path

from deepseek_runtime.contract import names
from deepseek_runtime.contract.names import Member
from deepseek_runtime.transport.sockets import Post
from faults.proxy import Proxy

_proxies: dict[str, Proxy] = {}
_lock = threading.Lock()
_dial = Post.dial


def _dial_through(post: Post, peer: str, address: str) -> None:
    with _lock:
        if peer not in _proxies:
            _proxies[peer] = Proxy(address)
        proxy = _proxies[peer]
    _dial(post, peer, f"tcp://127.0.0.1:{proxy.port}")


def address(links: Path, member: Member) -> str:
    """In Linux's abstract namespace: paths of sockets may have 107 bytes, and test folders are deep."""
    return "\0dsj-" + hashlib.sha256(f"{links.resolve()}/{member}".encode()).hexdigest()[:40]


def tell(links: Path, member: Member, command: str) -> bool:
    """False when the member is not there (any more)."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(2.0)
        client.connect(address(links, member))
        client.sendall(command.encode() + b"\n")
        return client.recv(16) == b"ok\n"
    return False


def _serve(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(2.0)
            _obey(connection.recv(256).decode().split())
            connection.sendall(b"ok\n")


def _obey(words: list[str]) -> None:
    verb, peer, *more = words
    with _lock:
        chosen = [proxy for name, proxy in _proxies.items() if name.startswith(peer)]
    for proxy in chosen:
        if verb == "delay":
            proxy.delay(float(more[0]))
        else:
            {"cut": proxy.cut, "stall": proxy.stall, "heal": proxy.heal}[verb]()


def main() -> None:
    role = sys.argv[1]
    links = Path(os.environ[names.ENV_EXIT_FILE]).parent.parent / "links"
    me = Member.parse(f"{role}-{os.environ[names.ENV_INDEX]}-{os.environ[names.ENV_INCARNATION]}")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address(links, me))
    listener.listen()
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    Post.dial = _dial_through  # type: ignore[method-assign,assignment]
    sys.argv = [f"deepseek_runtime.{role}"]
    runpy.run_module(f"deepseek_runtime.{role}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
