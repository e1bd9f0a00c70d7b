"""A peer that sends more than may wait and is gone: libzmq 4.3.5 must not end the process of the one who held it."""

import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

RUNTIME: Final = Path(__file__).parents[3] / "runtime"
SILENCE: Final = 3.0
CHILD: Final = """
import sys
from deepseek_runtime.transport import Post
with Post("server-0-0", None, silence=float(sys.argv[1])) as post:
    print(post.listen("tcp://127.0.0.1:0"), flush=True)
    sys.stdin.readline()
    post.receive(0.1)
    print("alive", flush=True)
"""
GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)


def test_a_peer_that_is_gone_while_its_messages_wait_ends_nobody() -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(SILENCE)],
        env={"PYTHONPATH": str(RUNTIME), "PATH": ""},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().rpartition(":")[2])
        flood(port, frames=3000)
        time.sleep(SILENCE / 2)  # the timer of what is tested is due twice: there is nothing that tells of it
        said, errors = server.communicate("\n", timeout=30)
    finally:
        server.kill()
        server.wait()
    assert (said, server.returncode) == ("alive\n", 0), errors


def flood(port: int, frames: int) -> None:
    """By ZMTP 3.1 without a library, so that the connection can be reset at a moment of ours."""
    with socket.create_connection(("127.0.0.1", port), 5) as peer:
        peer.sendall(GREETING)
        heard = heard_until(peer, b"NULL")
        body = b"\x05READY" + said(b"Socket-Type", b"DEALER") + said(b"Identity", b"worker-0-0")
        peer.sendall(bytes([4, len(body)]) + body)
        heard_until(peer, b"ROUTER", heard)
        peer.sendall((b"\0\xc8" + bytes(200)) * frames)
        time.sleep(0.3)  # it has read what it will
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def heard_until(peer: socket.socket, word: bytes, heard: bytes = b"") -> bytes:
    while word not in heard:
        got = peer.recv(4096)
        assert got, heard
        heard += got
    return heard


def said(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
