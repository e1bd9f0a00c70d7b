"""etcd on a grpc channel of ours: bounded calls, quick reconnects, nothing left after close.

One channel at a time, to one endpoint; the next endpoint is tried when this one is silent or refuses. etcd 3.4 or newer
(progress requests). A channel keeps the certificates it was made with, so one that fails is dropped when the files hold
others by then.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import grpc
from pyetcd import etcdrpc

from deepseek_runtime.membership.tls import TlsError, TlsFiles

RECONNECT_MS = 250
"""Longest wait of grpc between two attempts to connect."""
_TRIES = 5
"""Attempts of a call that met a change of users or roles: each change, of any job, makes etcd refuse it unread."""

_CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_MS),
    # Despite its name also the time-out of an attempt to connect, 20 s by default: a paused etcd accepts and is silent.
    ("grpc.min_reconnect_backoff_ms", 2000),
    # Connections are shared in a process otherwise, so that dropping a channel would not drop its connection.
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy that the environment names is not meant for a member of the cluster.
    ("grpc.enable_http_proxy", 0),
)


class Unavailable(Exception):
    """etcd did not answer in time, or refused. Transient; a write may have happened all the same."""

    def __init__(self, message: str, *, silent: bool = False) -> None:
        """`silent`: nothing at all came back, so the connection itself is in doubt."""
        super().__init__(message)
        self.silent = silent


class Compacted(Unavailable):
    """etcd has no such revision: forgotten already, or not reached yet."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key and what etcd holds there. Revisions are etcd's: one counter for all keys of a cluster."""

    key: str
    value: bytes
    created: int
    modified: int


@dataclass(frozen=True, slots=True)
class Listing:
    """All entries under a prefix at one revision of one cluster."""

    cluster: int
    revision: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """One answer of a watch: entries put, keys deleted, in order. Empty: only a sign of life."""

    cluster: int
    revision: int
    changes: tuple[Entry | str, ...]
    newest: int
    """The highest revision among the changes; 0 without."""


Condition = Any
"""A comparison in a transaction (etcdrpc.Compare)."""


def holds(key: str, value: bytes) -> Condition:
    """Compares the value itself: revisions of an emptied etcd begin anew and may coincide."""
    return etcdrpc.Compare(key=key.encode(), target=etcdrpc.Compare.VALUE, result=etcdrpc.Compare.EQUAL, value=value)


def absent(key: str) -> Condition:
    return etcdrpc.Compare(key=key.encode(), target=etcdrpc.Compare.VERSION, result=etcdrpc.Compare.EQUAL, version=0)


def exists(key: str) -> Condition:
    return etcdrpc.Compare(key=key.encode(), target=etcdrpc.Compare.VERSION, result=etcdrpc.Compare.GREATER, version=0)


class WatchStream:
    """A watch on a prefix; an iterator of Batch that ends with Unavailable. `ask` and `cancel` from any thread."""

    def __init__(
        self, open_stream: Callable[[Iterator[Any]], Any], prefix: bytes, revision: int, endpoint: str
    ) -> None:
        self._endpoint = endpoint
        # At most the creation, one question and the end are under way.
        self._requests: queue.Queue[Any] = queue.Queue(maxsize=8)
        self._requests.put(
            etcdrpc.WatchRequest(
                create_request=etcdrpc.WatchCreateRequest(
                    key=prefix, range_end=prefix_end(prefix), start_revision=revision
                )
            )
        )
        try:
            self._call = open_stream(iter(self._requests.get, None))
        except ValueError as error:
            raise Unavailable(f"etcd at {endpoint}: the connection was closed") from error

    def ask(self) -> None:
        """Asks for a sign of life: an empty Batch, when all before it was delivered."""
        self._send(etcdrpc.WatchRequest(progress_request=etcdrpc.WatchProgressRequest()))

    def cancel(self) -> None:
        self._call.cancel()
        self._send(None)

    def _send(self, request: Any) -> None:
        try:
            self._requests.put_nowait(request)
        except queue.Full:
            # grpc does not take requests any more: the stream is broken, and its reader is told so by grpc.
            self._call.cancel()

    def __enter__(self) -> "WatchStream":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.cancel()

    def __iter__(self) -> Iterator[Batch]:
        try:
            for answer in self._call:
                if answer.canceled or answer.compact_revision:
                    raise Unavailable(f"etcd at {self._endpoint} ended the watch")
                yield _batch(answer)
        except grpc.RpcError as error:
            raise _unavailable(error, self._endpoint) from error
        raise Unavailable(f"etcd at {self._endpoint} closed the watch")


class _Channel:
    """A grpc channel and the callables on it."""

    def __init__(self, endpoint: str, tls: TlsFiles | None) -> None:
        """Raises TlsError."""
        self.endpoint = endpoint
        self._tls = tls
        if tls is None:
            self._channel = grpc.insecure_channel(endpoint, options=_CHANNEL_OPTIONS)
        else:
            self._stamp = tls.stamp()
            self._channel = grpc.secure_channel(endpoint, tls.credentials(), options=_CHANNEL_OPTIONS)
        self.kv = etcdrpc.KVStub(self._channel)
        self.lease = etcdrpc.LeaseStub(self._channel)
        self.watch = etcdrpc.WatchStub(self._channel).Watch
        self.auth = etcdrpc.AuthStub(self._channel)
        # One question, one answer and the end is a valid use of this stream, and needs no thread of its own.
        self.keep_alive = self._channel.unary_unary(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            request_serializer=etcdrpc.LeaseKeepAliveRequest.SerializeToString,
            response_deserializer=etcdrpc.LeaseKeepAliveResponse.FromString,
        )

    @property
    def outdated(self) -> bool:
        """Its certificates have been renewed since."""
        try:
            return self._tls is not None and self._tls.stamp() != self._stamp
        except TlsError:
            return False  # those it has are better than none

    def close(self) -> None:
        self._channel.close()


class Connection:
    """Calls from any thread, each bounded by `call_timeout` seconds. All raise Unavailable."""

    def __init__(self, endpoints: Sequence[str], call_timeout: float, tls: TlsFiles | None = None) -> None:
        """endpoints: host:port, or a URL of it; tls: needed for those that ask for TLS."""
        if not endpoints:
            raise ValueError("no etcd endpoint given: host:port of at least one")
        for endpoint in endpoints:
            if endpoint.startswith("http://" if tls else "https://"):
                wrong = "is spoken to in the clear, but certificates are given" if tls else "needs certificates"
                raise ValueError(f"etcd endpoint {endpoint} {wrong}")
        self._endpoints = tuple(
            endpoint.removeprefix("http://").removeprefix("https://").rstrip("/") for endpoint in endpoints
        )
        self._tls = tls
        self._timeout = call_timeout
        self._lock = threading.Lock()
        self._turn = 0
        self._channel: _Channel | None = None
        self._closed = False

    @property
    def endpoint(self) -> str:
        return self._endpoints[self._turn % len(self._endpoints)]

    @property
    def alternatives(self) -> bool:
        return len(self._endpoints) > 1

    def renew(self) -> None:
        """Drops the connection, whatever uses it; the next call opens one to the next endpoint."""
        with self._lock:
            channel, self._channel = self._channel, None
            self._turn += 1
        if channel is not None:
            channel.close()

    def close(self) -> None:
        with self._lock:
            channel, self._channel = self._channel, None
            self._closed = True
        if channel is not None:
            channel.close()

    def list(self, prefix: str, revision: int = 0) -> Listing:
        """What stands under `prefix` now, or stood at `revision`. Raises Compacted when that is forgotten."""
        start = prefix.encode()
        answer = self.ask(
            lambda channel: channel.kv.Range,
            etcdrpc.RangeRequest(key=start, range_end=prefix_end(start), revision=revision),
        )
        entries = tuple(entry for entry in map(_entry, answer.kvs) if entry is not None)
        return Listing(answer.header.cluster_id, answer.header.revision, entries)

    def get(self, key: str) -> Entry | None:
        """A linearizable read."""
        answer = self.ask(lambda channel: channel.kv.Range, etcdrpc.RangeRequest(key=key.encode()))
        return _entry(answer.kvs[0]) if answer.kvs else None

    def put(
        self, key: str, value: bytes, conditions: Sequence[Condition] = (), *, read: str | None = None, lease: int = 0
    ) -> tuple[bool, Entry | None]:
        """Writes if all conditions hold, in one transaction; otherwise (False, what `read`, or `key`, holds)."""
        put = etcdrpc.PutRequest(key=key.encode(), value=value, lease=lease)
        look = etcdrpc.RangeRequest(key=(read or key).encode())
        answer = self.ask(
            lambda channel: channel.kv.Txn,
            etcdrpc.TxnRequest(
                compare=list(conditions),
                success=[etcdrpc.RequestOp(request_put=put)],
                failure=[etcdrpc.RequestOp(request_range=look)],
            ),
        )
        if answer.succeeded:
            return True, None
        found = answer.responses[0].response_range.kvs
        return False, _entry(found[0]) if found else None

    def delete(self, key: str) -> bool:
        """Whether there was something to delete."""
        answer = self.ask(lambda channel: channel.kv.DeleteRange, etcdrpc.DeleteRangeRequest(key=key.encode()))
        return bool(answer.deleted)

    def delete_all(self, prefix: str) -> None:
        start = prefix.encode()
        self.ask(
            lambda channel: channel.kv.DeleteRange,
            etcdrpc.DeleteRangeRequest(key=start, range_end=prefix_end(start)),
        )

    def grant(self, ttl: int) -> int:
        """A new lease of `ttl` seconds (etcd raises it to its least, 2 s by default)."""
        return int(self.ask(lambda channel: channel.lease.LeaseGrant, etcdrpc.LeaseGrantRequest(TTL=ttl)).ID)

    def keep_alive(self, lease: int) -> bool:
        """False: etcd does not know the lease (any more)."""
        answer = self.ask(lambda channel: channel.keep_alive, etcdrpc.LeaseKeepAliveRequest(ID=lease))
        return bool(answer.TTL > 0)

    def revoke(self, lease: int) -> None:
        self.ask(lambda channel: channel.lease.LeaseRevoke, etcdrpc.LeaseRevokeRequest(ID=lease))

    def refresh(self) -> None:
        """After a failure: drops the connection if its certificates were renewed, for a reconnect would use the old."""
        with self._lock:
            channel = self._channel
            if channel is None or not channel.outdated:
                return
            self._channel = None
        channel.close()

    def watch(self, prefix: str, revision: int) -> WatchStream:
        channel = self._open()
        return WatchStream(channel.watch, prefix.encode(), revision, channel.endpoint)

    def _open(self) -> _Channel:
        with self._lock:
            if self._closed:
                raise Unavailable("the connection to etcd was closed")
            if self._channel is None:
                try:
                    self._channel = _Channel(self.endpoint, self._tls)
                except TlsError as error:
                    raise Unavailable(f"etcd at {self.endpoint}: {error}") from error
            return self._channel

    def ask(self, method: Callable[[_Channel], Any], request: Any) -> Any:
        """One call, one answer. For this package."""
        for tries_left in reversed(range(_TRIES)):
            channel = self._open()
            try:
                return method(channel)(request, timeout=self._timeout)
            except grpc.RpcError as error:
                if tries_left and _refused_unread(error):
                    continue
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    self.refresh()
                raise _unavailable(error, channel.endpoint) from error
            except ValueError as error:
                # grpc's way to say that another thread closed the channel.
                raise Unavailable(f"etcd at {channel.endpoint}: the connection was closed") from error
        raise AssertionError("the last try returns or raises")


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all that begin with `prefix`, as etcd wants it (b"\\0": to the end)."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"


def _entry(kv: Any) -> Entry | None:
    """None: not a key of ours."""
    try:
        key = kv.key.decode()
    except UnicodeDecodeError:
        return None
    return Entry(key, kv.value, kv.create_revision, kv.mod_revision)


def _batch(answer: Any) -> Batch:
    changes: list[Entry | str] = []
    newest = 0
    for event in answer.events:
        entry = _entry(event.kv)
        newest = max(newest, event.kv.mod_revision)
        if entry is not None:
            changes.append(entry.key if event.type == event.DELETE else entry)
    return Batch(answer.header.cluster_id, answer.header.revision, tuple(changes), newest)


def _refused_unread(error: Any) -> bool:
    said = error.details() or ""
    return said.endswith(("revision in header is old", "revision of auth store is old"))


def _unavailable(error: Any, endpoint: str) -> Unavailable:
    code = error.code()
    if code is grpc.StatusCode.OUT_OF_RANGE:
        return Compacted(f"etcd at {endpoint}: {error.details()}")
    silent = code is grpc.StatusCode.DEADLINE_EXCEEDED
    return Unavailable(f"etcd at {endpoint}: {code.name}: {error.details()}", silent=silent)
