"""A server and a worker with the product's sockets and machines, and nothing around them: no etcd, no store, no chief.

What the chief would say (welcome, a lease) is said here; everything between worker and servers goes its usual way.
"""

import time
from collections.abc import Iterable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bench._remote import Remote
from deepseek_runtime import compression
from deepseek_runtime.contract.config import Checkpoint, Compression, JobConfig, Timing, Training, Update
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import ServerSeat, TermRecord
from deepseek_runtime.edge import parts
from deepseek_runtime.protocol import encoding
from deepseek_runtime.protocol.applied import AppliedSet
from deepseek_runtime.protocol.effects import Effect, LoadParts, PartData, Send, StartRange
from deepseek_runtime.protocol.files import Source
from deepseek_runtime.protocol.messages import Grant, Lease, Welcome
from deepseek_runtime.protocol.pusher import Pusher
from deepseek_runtime.protocol.server_orders import Admit, AppliedReport, Drop, Order, Place, ReportTaken
from deepseek_runtime.protocol.serving import Server
from deepseek_runtime.space import Space, TensorSpec
from deepseek_runtime.transport import Keys, Post, load_keys
from deepseek_runtime.transport.allocator import keep_freed_memory
from deepseek_runtime.transport.curve import lanes

F32 = npt.NDArray[np.float32]
SAMPLES = 1 << 20
PATIENCE = 60.0
ROW = 4096


def config_of(spans: int, method: Literal["none", "topk"] = "none") -> JobConfig:
    training = Training(task="none:None", steps=1, update=Update(), compression=Compression(method=method))
    timing = Timing(resend=30.0)  # nothing is lost here, and a repeat would be measured as if it were
    return JobConfig(
        job="bench",
        uid="bench",
        etcd=(),
        spans=spans,
        training=training,
        checkpoint=Checkpoint(uri="/nowhere"),
        timing=timing,
    )


def space_of(parameters: int, spans: int) -> Space:
    """One matrix of so many parameters (a multiple of 4,096)."""
    return Space.build([TensorSpec("weight", (parameters // ROW, ROW), "float32", "parameter", 0)], spans=spans)


def keys_of(folder: str, role: Any) -> Keys | None:
    return load_keys(folder, role) if folder else None


class BenchServer:
    """Server `index`: all spans of its begin as zeros. `step` is one round of the loop of server.py."""

    def __init__(self, index: int, keys: str, config: JobConfig) -> None:
        self.me = Member("server", index, 0)
        held = keys_of(keys, "server")
        self.post = Post(str(self.me), held, threads=lanes(held))
        self.address = self.post.listen("tcp://127.0.0.1:0")
        self.config = config
        self.machine = Server(self.me, lambda space, at, samples: parts.span_parts(config, space, at, samples))
        self.chief = self.me
        compression.load()

    def open(self, record: TermRecord, space: Space) -> None:
        machine, now = self.machine, time.monotonic()
        self.chief = Member("server", record.servers[0].index, 0)
        machine.on_term(record, now)
        hosted = tuple(range(self.me.index, len(space.spans), len(record.servers)))
        place = Place(1, space.to_json(), hosted, Source(1, 0, {}), SAMPLES)
        (load,) = machine.on_message(self.chief, Order(1, 1, place), now)
        assert isinstance(load, LoadParts)
        machine.on_result(load, {k: _zeros(k, space.spans[k].size) for k in hosted}, now)
        machine.on_message(self.chief, Order(1, 2, Drop()), now)
        machine.on_message(self.chief, Order(1, 3, Admit()), now)

    def step(self) -> None:
        for sender, wire in self.post.receive(0.1):
            self.carry_out(self.machine.on_message(Member.parse(sender), encoding.decode(wire), time.monotonic()))
        self.carry_out(self.machine.on_tick(time.monotonic()))

    def carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if not isinstance(effect, Send):
                continue
            if isinstance(effect.message, AppliedReport):
                taken = ReportTaken(effect.message.term, effect.message.number)
                self.machine.on_message(self.chief, taken, time.monotonic())
            else:
                self.post.send(str(effect.to), encoding.encode(effect.message))


def _zeros(span: int, size: int) -> PartData:
    return PartData(span, np.zeros(size, np.float32), AppliedSet(), set(), 0, 0.0, {}, 0.0)


def serve(pipe: Connection, index: int, keys: str, spans: int, parameters: int) -> None:
    keep_freed_memory()
    server = BenchServer(index, keys, config_of(spans))
    pipe.send(server.address)
    (record,) = pipe.recv()
    server.open(record, space_of(parameters, spans))
    pipe.send("open")
    while not pipe.poll(0):
        server.step()


class BenchWorker:
    """Trains nothing: pushes a given difference under leases that it gives itself."""

    def __init__(self, index: int, keys: str, config: JobConfig, record: TermRecord, space: Space) -> None:
        self.me = Member("worker", index, 0)
        held = keys_of(keys, "worker")
        self.post = Post(str(self.me), held, lanes=lanes(held), threads=lanes(held))
        self.space = space
        build = partial(parts.codec, config)
        self.machine = Pusher(self.me, SAMPLES, space.fingerprint(), build, config.timing)
        self.chief = Member("server", record.servers[0].index, 0)
        self.started = False
        self._range = index << 20
        for seat in record.servers:
            self.post.dial(f"server-{seat.index}-{seat.incarnation}", seat.address)
        compression.load()
        now = time.monotonic()
        self.machine.on_term(record, now)
        self.carry_out(
            self.machine.on_message(
                self.chief, Welcome(record.number, 1, space.to_json(), SAMPLES, None, None, None), now
            )
        )
        self.until(lambda: len(self.post.peers()) == len(record.servers))

    def carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, StartRange):
                self.started = True
            elif isinstance(effect, Send) and type(effect.message).__name__ in ("Push", "Pull"):
                self.post.send(str(effect.to), encoding.encode(effect.message))

    def until(self, reached: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while not reached():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.me}: {self.post.refused}")
            for sender, wire in self.post.receive(0.1):
                self.carry_out(self.machine.on_message(Member.parse(sender), encoding.decode(wire), time.monotonic()))

    def idle(self) -> None:
        """Signs of life are the post's work."""
        self.post.receive(0.1)

    def pull(self) -> float:
        """Seconds from the lease until the copy is up to date."""
        self._range += 1
        self.started = False
        began = time.perf_counter()
        grant = Grant(1, Lease(1, self._range, self._range, 0, 1.0))
        self.carry_out(self.machine.on_message(self.chief, grant, time.monotonic()))
        self.until(lambda: self.started)
        return time.perf_counter() - began

    def push(self, difference: F32) -> float:
        """Seconds until each span has answered. After a pull."""
        began = time.perf_counter()
        self.carry_out(self.machine.trained(difference, None, 1, {}, time.monotonic()))
        self.until(lambda: self.machine.pending is None)
        return time.perf_counter() - began


def work(pipe: Connection, index: int, keys: str, spans: int, parameters: int) -> None:
    keep_freed_memory()
    space = space_of(parameters, spans)
    (record,) = pipe.recv()
    worker = BenchWorker(index, keys, config_of(spans), record, space)
    difference = np.random.default_rng(index).standard_normal(space.size, np.float32)
    pushes = 0

    def do(what: str) -> float:
        nonlocal pushes
        if what == "pull":
            return worker.pull()
        if what == "push":
            pushes += 1
            return worker.push(difference.copy())
        # What is at the servers, after pushes of this worker alone: -w times the sum of the differences.
        return float(np.abs(worker.machine.x + pushes * difference).max() / max(pushes, 1))

    pipe.send("ready")
    while True:
        while not pipe.poll(0):
            worker.idle()
        pipe.send(do(*pipe.recv()))


class Ours:
    """`servers` servers and `workers` workers of one job, each a process; `ready` before the first round."""

    def __init__(self, servers: int, keys: str, parameters: int, spans: int = 64, workers: int = 1) -> None:
        self.servers = [Remote(serve, index, keys, spans, parameters) for index in range(servers)]
        self.workers = [Remote(work, index, keys, spans, parameters) for index in range(workers)]

    def ready(self) -> None:
        seats = tuple(
            ServerSeat(index=index, incarnation=0, address=remote.answer()) for index, remote in enumerate(self.servers)
        )
        record = TermRecord(number=1, servers=seats)
        for remote in [*self.servers, *self.workers]:
            remote.ask(record)

    def round(self) -> tuple[float, float]:
        """Seconds of a push and of a pull of the first worker."""
        pull = self.workers[0].ask("pull")
        return self.workers[0].ask("push"), pull

    def close(self) -> None:
        for remote in [*self.workers, *self.servers]:
            remote.close()
