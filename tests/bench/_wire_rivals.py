"""What else would carry 100 MB from one process to another: bare TCP, TLS 1.3 by `ssl`, gloo, torch RPC."""

import datetime
import os
import socket
import ssl
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench._remote import Remote, answering

PUSH, PULL = b"w", b"r"


def certificate(folder: Path) -> tuple[str, str]:
    """A certificate of this benchmark's own, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    crt, pem = folder / "bench.crt", folder / "bench.key"
    crt.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(crt), str(pem)


def stream_server(pipe: Connection, size: int, tls: tuple[str, str] | None) -> None:
    """Takes `size` bytes into one place and says so (PUSH), or sends as many (PULL)."""
    listener = socket.create_server(("127.0.0.1", 0))
    pipe.send(listener.getsockname()[1])
    plain, _ = listener.accept()
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream: socket.socket = plain
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(*tls)
        stream = context.wrap_socket(plain, server_side=True)
    place = memoryview(bytearray(size))
    while word := stream.recv(1):
        if word == PUSH:
            _fill(stream, place)
            stream.sendall(b"k")
        else:
            stream.sendall(place)


def stream_client(pipe: Connection, size: int, tls: tuple[str, str] | None) -> None:
    (port,) = pipe.recv()
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream: socket.socket = plain
    if tls is not None:
        context = ssl.create_default_context(cafile=tls[0])
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        stream = context.wrap_socket(plain)
    values = memoryview(np.random.default_rng(0).bytes(size))
    place = memoryview(bytearray(size))

    def do(what: str) -> float:
        began = time.perf_counter()
        if what == "push":
            stream.sendall(PUSH)
            stream.sendall(values)
            stream.recv(1)
        else:
            stream.sendall(PULL)
            _fill(stream, place)
        return time.perf_counter() - began

    pipe.send("ready")
    answering(pipe, do)


def _fill(stream: socket.socket, place: memoryview) -> None:
    got = 0
    while got < len(place):
        got += stream.recv_into(place[got:])


class Stream:
    """One TCP connection; with `tls` (certificate, key) encrypted by TLS 1.3."""

    def __init__(self, size: int, tls: tuple[str, str] | None = None) -> None:
        self._server = Remote(stream_server, size, tls)
        self._client = Remote(stream_client, size, tls)

    def ready(self) -> None:
        self._client.ask(self._server.answer())

    def round(self) -> tuple[float, float]:
        return self._client.ask("push"), self._client.ask("pull")

    def close(self) -> None:
        self._client.close()
        self._server.close()


def gloo(pipe: Connection, rank: int, store: str, size: int) -> None:
    import torch
    import torch.distributed as dist

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    values = torch.zeros(size // 4) + rank
    word = torch.zeros(1)

    def do(what: str) -> float:
        began = time.perf_counter()
        word[0] = 1.0 if what == "push" else 2.0
        dist.send(word, 1)
        if what == "push":
            dist.send(values, 1)
            dist.recv(word, 1)
        else:
            dist.recv(values, 1)
        return time.perf_counter() - began

    pipe.send("ready")
    if rank == 0:
        answering(pipe, do)
    while True:
        dist.recv(word, 0)
        if word[0] == 1.0:
            dist.recv(values, 0)
            dist.send(word, 0)
        else:
            dist.send(values, 0)


_theta: Any = None


def rpc_take(values: Any) -> None:
    """A push, without an update."""


def rpc_give() -> Any:
    return _theta


def rpc(pipe: Connection, rank: int, store: str, size: int) -> None:
    global _theta
    import torch
    import torch.distributed.rpc as torch_rpc

    os.environ["TP_SOCKET_IFNAME"] = os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    values = _theta = torch.zeros(size // 4) + rank
    options = torch_rpc.TensorPipeRpcBackendOptions(init_method=f"file://{store}", _transports=["uv"])
    torch_rpc.init_rpc(  # type: ignore[no-untyped-call, unused-ignore]
        f"member{rank}", rank=rank, world_size=2, rpc_backend_options=options
    )

    def do(what: str) -> float:
        began = time.perf_counter()
        if what == "push":
            torch_rpc.rpc_sync("member1", rpc_take, args=(values,))
        else:
            torch_rpc.rpc_sync("member1", rpc_give)
        return time.perf_counter() - began

    pipe.send("ready")
    answering(pipe, do)


class Pair:
    """Two processes of torch: `target` is gloo or rpc."""

    def __init__(self, target: Any, folder: Path, size: int) -> None:
        store = str(folder / f"store-{target.__name__}")
        self._members = [Remote(target, rank, store, size) for rank in (0, 1)]

    def ready(self) -> None:
        for member in self._members:
            member.answer()

    def round(self) -> tuple[float, float]:
        return self._members[0].ask("push"), self._members[0].ask("pull")

    def close(self) -> None:
        for member in self._members:
            member.close()
