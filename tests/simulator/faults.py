"""What goes wrong, and when: at a random time, or when a message or effect of some kind passes for the n-th time."""

from collections.abc import Callable
from dataclasses import dataclass

from deepseek_runtime.contract.records import Command
from deepseek_runtime.protocol import lineage
from deepseek_runtime.protocol import term as terms
from simulator.job import Job
from simulator.operating import Operator
from simulator.processes import Process
from simulator.store import Trouble

POINTS = (
    *("Receive", "InitialPart", "Place", "Drop", "Admit", "Save", "WriteParts", "WriteIndex", "WriteBase", "Clean"),
    *("FindCheckpoint", "LoadParts", "Close", "WriteState", "ListWorkers", "EndLease", "Skip", "Push", "Answers"),
    *("Pull", "Published", "Grant", "Welcome", "Hello", "AppliedReport", "Ask", "Report", "Leave", "StartRange"),
    *("StartEvaluation", "Adopt", "Forward", "Confirmed", "Fetch", "HandOver"),
)
OFTEN = {
    *(
        "Push",
        "Answers",
        "Pull",
        "Published",
        "Grant",
        "AppliedReport",
        "StartRange",
        "Forward",
        "Confirmed",
        "HandOver",
    )
}


@dataclass(slots=True)
class Faults:
    """Those of one schedule. `done`: kinds that took place; `until`: when the last of them is over."""

    job: Job
    operator: Operator
    done: list[str]
    until: float = 0.0

    # --- when

    def plan(self, count: int, span: float) -> None:
        """Draws `count` faults within the first `span` seconds."""
        random = self.job.clock.random
        for _ in range(count):
            kind = random.choice(DRAWN)
            if random.random() < 0.45:
                name = random.choice(POINTS)
                n = random.randint(1, 40 if name in OFTEN else 5)
                self.job.points.setdefault(name, []).append((n, lambda kind=kind: self.strike(kind)))  # type: ignore[misc]
            else:
                self.job.clock.at(random.uniform(0.5, span), self.strike, kind)

    def strike(self, kind: str) -> None:
        if self.operator.status.finished or not KINDS[kind](self):
            return
        self.job.clock.log("*** %s", kind)
        self.done.append(kind)
        self.lasts(0.0)

    def lasts(self, seconds: float) -> None:
        self.until = max(self.until, self.job.clock.now + seconds)

    def _for(self, low: float, high: float, after: Callable[..., object], *args: object) -> None:
        seconds = self.job.clock.random.uniform(low, high)
        self.lasts(seconds)
        self.job.clock.after(seconds, after, *args)

    def _one(self, found: list[Process]) -> Process | None:
        return self.job.clock.random.choice(found) if found else None

    # --- members

    def kill(self, role: str) -> bool:
        process = self._one(self.job.living(role))
        if process is not None:
            process.kill()
        return process is not None

    def kill_chief(self) -> bool:
        chief = self.job.chief()
        if chief is not None:
            chief.kill()
        return chief is not None

    def pause(self, role: str) -> bool:
        process = self._one([p for p in self.job.living(role) if not p.paused])
        if process is None:
            return False
        process.pause()
        if role == "server":
            self.job.servers_disturbed_at = self.job.clock.now + 20.0
        self._for(0.5, 16.0, process.wake)
        return True

    def slow(self) -> bool:
        workers = self.job.workers()
        if not workers:
            return False
        worker = self.job.clock.random.choice(workers)
        worker.pace = 12.0

        def over() -> None:
            worker.pace = 1.0

        self._for(3.0, 10.0, over)
        self.lasts(20.0)
        return True

    def drain(self) -> bool:
        """Somebody else ends a worker: a node is emptied."""
        worker = self._one(self.job.living("worker"))
        if worker is not None and not worker.paused:
            worker.terminate()
            return True
        return False

    # --- links

    def cut(self) -> bool:
        random = self.job.clock.random
        servers, workers = self.job.living("server"), self.job.living("worker")
        one = self._one(servers)
        other = self._one([p for p in servers + workers if p is not one])
        if one is None or other is None:
            return False
        self.job.cut(one.me, other.me)
        self._for(0.05, random.choice((0.5, 4.0, 20.0)), self.job.heal, one.me, other.me)
        return True

    def cut_etcd(self) -> bool:
        process = self._one(self.job.living("server") + self.job.living("worker"))
        if process is None:
            return False
        self.job.cut_from_etcd(process.me, True)
        self._for(0.5, 20.0, self.job.cut_from_etcd, process.me, False)
        return True

    # --- etcd, operator

    def etcd_emptied(self) -> bool:
        return self._etcd(emptied=True)

    def etcd_silent(self) -> bool:
        return self._etcd(emptied=False)

    def _etcd(self, emptied: bool) -> bool:
        etcd, clock = self.job.etcd, self.job.clock
        if not etcd.up:
            return False
        clock.log("etcd is gone")
        etcd.stop()
        self._for(0.3, 12.0, etcd.start, emptied, clock.random.random() < 0.7)
        return True

    def operator_pause(self) -> bool:
        if self.operator.paused:
            return False
        self.operator.paused = True

        def over() -> None:
            self.operator.paused = False
            if self.job.clock.random.random() < 0.5:
                self.operator.restart()

        self._for(1.0, 15.0, over)
        return True

    # --- store

    def store(self, trouble: Trouble) -> bool:
        store = self.job.store
        if store.trouble or not store.bases:
            return False
        store.trouble = trouble

        def over() -> None:
            store.trouble = ""

        self._for(1.0, 9.0, over)
        self.lasts(30.0)
        return True

    def damage(self) -> bool:
        """A part of the newest checkpoint; one that can be read always stays. Then all must go back."""
        store = self.job.store
        terms = sorted(store.bases)
        if not terms or store.keep < 2:
            return False
        names = list(lineage.lineage(terms[-1], store.bases, store.steps()))[: store.keep]
        whole = [
            name
            for name in names
            if name not in store.broken_indexes
            and not any(store.parts[ref.path].damaged for ref in store.indexes[name].parts.values())
        ]
        if len(whole) < 2:
            return False
        if self.job.clock.random.random() < 0.3:
            store.broken_indexes.add(whole[0])
        else:
            ref = self.job.clock.random.choice(sorted(store.indexes[whole[0]].parts.items()))[1]
            store.parts[ref.path].damaged = True
        self.kill("server")
        return True

    # --- what people ask for

    def scale(self, by: int) -> bool:
        workers = self.operator.intent.workers + by
        if not 1 <= workers <= 4 or self.operator.intent.suspend:
            return False
        self.operator.asks(workers=workers)
        return True

    def reshard(self) -> bool:
        """Another number of servers while training goes on."""
        intent = self.operator.intent
        if intent.suspend or not self.operator.status.opened:
            return False
        servers = self.job.clock.random.choice([n for n in (1, 2, 3, 4) if n != intent.servers])
        self.operator.asks(servers=servers)
        self.lasts(10.0)
        return True

    def cut_neighbours(self) -> bool:
        """Between a server and the one that holds its backups."""
        chief = self.job.chief()
        if chief is None or chief.machine.record is None:
            return False
        one = self.job.clock.random.choice(terms.servers(chief.machine.record))
        other = terms.neighbour(chief.machine.record, one)
        if other is None or one not in self.job.members or other not in self.job.members:
            return False
        self.job.cut(one, other)
        self._for(0.05, 6.0, self.job.heal, one, other)
        return True

    def resume_with_others(self) -> bool:
        """Suspended, drained, and resumed with another number of servers."""
        if self.operator.intent.suspend or not self.operator.status.opened:
            return False
        self.operator.asks(suspend=True)
        self.lasts(90.0)
        self._resume()
        return True

    def _resume(self) -> None:
        clock = self.job.clock
        if self.operator.status.finished:
            return
        if self.job.living("server") or self.job.living("worker") or not self.operator.ended:
            clock.after(1.0, self._resume)
            return
        self.operator.asks(suspend=False, servers=clock.random.randint(1, 3))
        self.lasts(10.0)

    def again(self, restore: bool) -> bool:
        before = self.operator.status.term.number
        self.operator.again(restore)
        return self.operator.status.term.number > before

    def checkpoint(self) -> bool:
        etcd = self.job.etcd
        if not etcd.up or self.operator.intent.suspend:
            return False
        etcd.commands[f"checkpoint-{self.job.clock.events}"] = Command(kind="checkpoint")
        etcd.changed()
        return True

    def non_finite(self) -> bool:
        """A range that is not begun yet stays non-finite: a few times, or always."""
        random = self.job.clock.random
        g = random.randrange(self.job.plan.count)
        self.job.bad_ranges[g] = random.choice((1, 2, 6, 10**6))
        self.job.ever_bad.add(g)
        return True


KINDS: dict[str, Callable[[Faults], bool]] = {
    "kill a worker": lambda f: f.kill("worker"),
    "kill a server": lambda f: f.kill("server"),
    "kill the chief": lambda f: f.kill_chief(),
    "etcd killed, emptied": lambda f: f.etcd_emptied(),
    "etcd away": lambda f: f.etcd_silent(),
    "operator away": lambda f: f.operator_pause(),
    "link cut": lambda f: f.cut(),
    "cut off from etcd": lambda f: f.cut_etcd(),
    "worker paused": lambda f: f.pause("worker"),
    "neighbours cut apart": lambda f: f.cut_neighbours(),
    "servers scaled": lambda f: f.reshard(),
    "server paused": lambda f: f.pause("server"),
    "worker slow": lambda f: f.slow(),
    "worker drained": lambda f: f.drain(),
    "workers scaled up": lambda f: f.scale(1),
    "workers scaled down": lambda f: f.scale(-1),
    "store full": lambda f: f.store("full"),
    "store silent": lambda f: f.store("silent"),
    "store forgets answers": lambda f: f.store("forgetful"),
    "checkpoint damaged": lambda f: f.damage(),
    "resumed with other servers": lambda f: f.resume_with_others(),
    "rolled back": lambda f: f.again(True),
    "term raised, all alive": lambda f: f.again(False),
    "checkpoint asked for": lambda f: f.checkpoint(),
    "range not finite": lambda f: f.non_finite(),
}

DRAWN = [*sorted(KINDS), "checkpoint damaged", "checkpoint damaged", "rolled back", "term raised, all alive"]
DRAWN += ["servers scaled", "servers scaled", "kill a server", "kill a server"]
"""Those that often come at a time when they cannot be are drawn more often."""
