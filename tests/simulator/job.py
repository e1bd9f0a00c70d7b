"""One job in virtual time: members, network, etcd, store, and what faults may do to them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from deepseek_runtime.contract.config import Timing
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import ServerSeat, TermRecord
from deepseek_runtime.protocol.effects import Note
from deepseek_runtime.protocol.messages import Message
from deepseek_runtime.protocol.pieces import PIECE
from deepseek_runtime.protocol.server_orders import Order
from deepseek_runtime.protocol.settings import Settings
from deepseek_runtime.ranges import RangePlan
from simulator.clock import Clock
from simulator.etcd import Etcd
from simulator.network import Network
from simulator.oracle import Oracle
from simulator.processes import Process
from simulator.servers import ServerProcess
from simulator.store import Store
from simulator.tally import SAMPLES, Method
from simulator.workers import WorkerProcess


@dataclass(frozen=True, slots=True)
class Shape:
    """What a job is like; the defaults are a small one."""

    servers: int = 2
    workers: int = 2
    method: Method = "none"
    bound: int | None = 4
    batch_size: int = 2
    local_steps: int = 2
    steps: int = 40
    checkpoint_every: int = 8
    evaluate_every: int = 0
    keep: int = 2
    share: bool = False
    encoded: bool = False
    latency: tuple[float, float] = (0.002, 0.05)
    storing: tuple[float, float] = (0.005, 0.2)
    range_seconds: tuple[float, float] = (0.2, 0.8)
    bad_ranges: dict[int, int] = field(default_factory=dict)
    """g -> how often it stays non-finite (a large number: always)."""
    timing: Timing = Timing()
    backup: bool = False
    piece: int = PIECE
    """Bytes of payloads with which a message is closed."""


class Job:
    def __init__(self, shape: Shape, seed: int = 0, trace: bool = False) -> None:
        self.shape = shape
        self.clock = Clock(seed, trace)
        self.method: Method = shape.method
        self.plan = RangePlan(SAMPLES, shape.batch_size, shape.local_steps, shape.steps, seed)
        self.settings = Settings(
            lambda samples: self.plan,
            shape.bound,
            shape.share,
            shape.checkpoint_every,
            shape.evaluate_every,
            shape.timing,
            shape.backup,
        )
        self.range_seconds = shape.range_seconds
        self.bad_ranges = dict(shape.bad_ranges)
        self.ever_bad = set(shape.bad_ranges)
        self.servers_disturbed_at = 0.0
        self.initial: dict[int, float] = {}
        """What every initial weight of the worker with this index is; 0 if it is not named."""
        self.grace = True
        self.etcd = Etcd(self.clock, shape.timing.registration_ttl, shape.latency)
        self.store = Store(self.clock, shape.keep, shape.storing)
        self.network = Network(self.clock, self._deliver, shape.latency, shape.encoded)
        self.oracle = Oracle(self)
        self.store.on_index = self.oracle.on_index
        self.members: dict[Member, Process] = {}
        self.notes: list[Note] = []
        self.keep_alive: list[object] = []
        """Spans that the oracle knows by their identity."""
        self.on_change: Callable[[], None] = lambda: None
        self.points: dict[str, list[tuple[int, Callable[[], None]]]] = {}
        """What is to happen at the n-th passing of a message or effect of a kind."""
        self.passed: dict[str, int] = {}
        self.network.sent = self._sent
        self.cut_at: dict[Member, float] = {}

    # --- members

    def start(self, member: Member) -> Process:
        self.clock.log("%s starts", member)
        process = ServerProcess(self, member) if member.role == "server" else WorkerProcess(self, member)
        self.members[member] = process
        return process

    def start_all(self) -> None:
        for index in range(self.shape.servers):
            self.start(Member("server", index, 0))
        for index in range(self.shape.workers):
            self.start(Member("worker", index, 0))

    def server(self, member: Member) -> ServerProcess | None:
        process = self.members.get(member)
        return process if isinstance(process, ServerProcess) and process.alive else None

    def living(self, role: str) -> list[Process]:
        return [p for m, p in sorted(self.members.items()) if m.role == role and p.alive]

    def servers(self) -> list[ServerProcess]:
        return [p for p in self.living("server") if isinstance(p, ServerProcess)]

    def workers(self) -> list[WorkerProcess]:
        return [p for p in self.living("worker") if isinstance(p, WorkerProcess)]

    def chief(self) -> ServerProcess | None:
        """The one of the newest term."""
        chiefs = [p for p in self.servers() if p.chief is not None]
        return max(chiefs, key=lambda p: p.machine.number, default=None)

    def changed(self) -> None:
        self.on_change()

    def _deliver(self, sender: Member, to: Member, message: Message) -> None:
        process = self.members.get(to)
        if process is not None:
            process.run(process.deliver, sender, message)

    # --- by hand: what the operator would do

    def raise_term(self, *servers: Member, restore: bool = False, sources: tuple[Member, ...] = ()) -> TermRecord:
        """Writes the next term."""

        def seat(member: Member) -> ServerSeat:
            return ServerSeat(index=member.index, incarnation=member.incarnation, address=f"sim://{member}")

        number = self.etcd.term.number + 1 if self.etcd.term is not None else 1
        record = TermRecord(
            number=number, servers=tuple(map(seat, servers)), sources=tuple(map(seat, sources)), restore=restore
        )
        self.etcd.raise_term(record)
        return record

    def run_until(self, condition: Callable[[], bool], within: float = 60.0) -> None:
        if not self.clock.run(self.clock.now + within, condition):
            raise AssertionError(f"it did not come about within {within:g} s")

    def run_for(self, seconds: float) -> None:
        self.clock.run(self.clock.now + seconds)

    # --- what happens

    def _sent(self, message: Message) -> None:
        self.passes(type(message.body).__name__ if isinstance(message, Order) else type(message).__name__)

    def passes(self, name: str) -> None:
        waiting = self.points.get(name)
        if not waiting:
            return
        self.passed[name] = self.passed.get(name, 0) + 1
        due = [do for count, do in waiting if count <= self.passed[name]]
        if due:
            self.points[name] = [one for one in waiting if one[0] > self.passed[name]]
            for do in due:
                self.clock.after(0.0, do)

    def stays_non_finite(self, g: int) -> bool:
        left = self.bad_ranges.get(g, 0)
        if left > 0:
            self.bad_ranges[g] = left - 1
        return left > 0

    def cut(self, one: Member, other: Member) -> None:
        self.clock.log("cut: %s and %s", one, other)
        self.network.cut(one, other)
        self._disturbed(one, other)

    def heal(self, one: Member, other: Member) -> None:
        self.clock.log("healed: %s and %s", one, other)
        self.network.heal(one, other)
        self._disturbed(one, other)

    def cut_from_etcd(self, member: Member, cut: bool) -> None:
        process = self.members[member]
        if process.alive and process.etcd.cut != cut:
            self.clock.log("%s is %s etcd", member, "cut off from" if cut else "back at")
            process.etcd.cut = cut
            process.etcd.connection_changed()
            self._disturbed(member)

    def _disturbed(self, *members: Member) -> None:
        for member in members:
            if member in self.members:
                self.members[member].disturbed_at = self.clock.now

    def calm_workers(self) -> list[Member]:
        """Workers that nothing happened to for a while before the job's end."""
        if self.clock.now < self.servers_disturbed_at:
            return []
        return [p.me for p in self.workers() if self.clock.now - p.disturbed_at > 20.0 and not p.terminating]
