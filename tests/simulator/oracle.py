"""What must never happen, checked at each event; `finished` checks the end of the job."""

from typing import TYPE_CHECKING

import numpy as np

from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import State
from deepseek_runtime.protocol import lineage
from deepseek_runtime.protocol.chief import Chief
from deepseek_runtime.protocol.effects import PartData, StartEvaluation, StartRange, WriteIndex
from deepseek_runtime.protocol.lineage import Step
from deepseek_runtime.protocol.messages import Answers, Message, Push
from deepseek_runtime.protocol.neighbours import Forward, LastAnswer
from deepseek_runtime.protocol.pusher import Pusher
from deepseek_runtime.protocol.server_orders import AppliedReport
from deepseek_runtime.protocol.serving import Server
from deepseek_runtime.protocol.span import Span
from simulator.clock import Violation
from simulator.tally import F32, Book, Made, TallyRule, book_of, difference, space

if TYPE_CHECKING:
    from simulator.job import Job


class Oracle:
    def __init__(self, job: "Job") -> None:
        self._job = job
        self._made: dict[tuple[str, int], Made] = {}
        self._published: dict[tuple[int, int, int], tuple[bytes, int]] = {}
        """(span, line, count) -> (p, pushes applied in that line)"""
        self._pulled: dict[Member, dict[int, tuple[int, int]]] = {}
        self._counts: dict[int, tuple[int, int]] = {}
        self.evaluated: dict[str, bytes] = {}
        self.crowd = 1
        """Most leases that were outstanding at once."""
        self.given_again = 0
        self.staleness = 0
        self._leases: dict[tuple[int, int], tuple[int, int]] = {}
        """Of each lease (term, number): what was given past the gate before it, and how many are out at once."""
        self._done: tuple[int, int] = (0, 0)
        self._granted: dict[tuple[int, int], int] = {}
        self._out: dict[int, set[int]] = {}
        self._states: dict[tuple[int, int, int, int], bytes] = {}
        """(span, branch, the term that placed it, changes) -> theta: the same with the owner and its neighbour."""
        self._said: dict[tuple[int, int], set[int]] = {}
        """(span, branch) -> ranges that somebody was told are in."""
        self._said_last: dict[tuple[int, int, int], LastAnswer] = {}
        """(span, branch, worker) -> the newest of its pushes that it was told is in."""
        self._placed: dict[int, int] = {}
        self._checked: dict[int, tuple[int, int, int, int]] = {}
        self._free: set[tuple[int, int]] = set()
        """Leases (term, number) that ended everywhere before their range was done."""

    # --- pushes

    def on_push(self, worker: Pusher, push: Push) -> None:
        """First time that it is sent: what it is made of."""
        key = (str(worker.me), push.sequence)
        if key in self._made:
            return
        pending = worker.pending
        if pending is None:
            raise Violation(f"{worker.me} sends push {push.sequence}, which is not its pending one")
        g = push.lease.g if push.lease is not None else None
        made = difference(self._job.plan, g) if g is not None else np.zeros(space().size, np.float32)
        if push.lease is not None and push.lease.zero:
            made = np.zeros_like(made)
        self._made[key] = Made(
            key[0], push.sequence, g, push.branch, made, pending.kept.copy(), push.w, self._pulled.get(worker.me, {})
        )

    def on_apply(self, server: Server, rule: TallyRule, sender: Member, push: Push, w: float) -> Made:
        made = self._made[(str(sender), push.sequence)]
        span = server.spans[rule.index]
        where = f"span {rule.index} on {server.me}"
        if made.branch != span.branch:
            raise Violation(f"{where} of branch {span.branch} took a push of branch {made.branch}")
        if push.lease is not None and (push.lease.term, push.lease.number) in self._free:
            raise Violation(f"{where} took a push of {sender} under lease {push.lease.number}, which has ended")
        if made.g is not None:
            if made.g in rule.book.by:
                raise Violation(f"{where} took range {made.g} twice")
            line, seen = made.seen.get(rule.index, (0, 0))
            if line == span.line:
                self._stale(where, made.g, push, span.ordinal - seen)
        if w != made.w:
            raise Violation(f"{where} took push {push.sequence} of {sender} with weight {w}, made with {made.w}")
        return made

    def on_follow(self, server: Server, rule: TallyRule, change: Forward, w: float) -> Made:
        """A neighbour takes what an owner has applied."""
        push = change.push
        assert push is not None
        made = self._made[(str(push.worker), push.sequence)]
        where = f"the backup of span {rule.index} on {server.me}"
        if made.branch != server.backing.spans[rule.index].branch:
            raise Violation(f"{where} took a push of branch {made.branch}")
        if made.g is not None and made.g in rule.book.by:
            raise Violation(f"{where} took range {made.g} twice")
        if made.g != change.g or w != made.w:
            raise Violation(f"{where} took push {push.sequence} of {push.worker} as another one than was made")
        return made

    def on_said(self, server: Server, to: Member, message: Message) -> None:
        """Nobody may be told of a push that one lost server can take away: what is said stays on its branch."""
        if isinstance(message, Answers):
            made = self._made.get((str(to), message.sequence))
            for index, answer in message.answers.items():
                if answer == "applied" and made is not None:
                    last = LastAnswer(to.incarnation, message.sequence, answer)
                    self._said_last[(index, message.branch, to.index)] = last
                if answer != "stale" and made is not None and made.g is not None:
                    self._said.setdefault((index, message.branch), set()).add(made.g)
        elif isinstance(message, AppliedReport):
            for g, spans in message.ranges:
                for index in spans:
                    self._said.setdefault((index, server.spans[index].branch), set()).add(g)

    def _check_said(self, index: int, span: Span, where: str) -> None:
        missing = {g for g in self._said.get((index, span.branch), ()) if g not in span.applied}
        if missing:
            raise Violation(f"{where} begins term {span.placed} without ranges {sorted(missing)}, said to be in")
        for (of, branch, worker), last in self._said_last.items():
            known = span.answers.get(worker)
            if (of, branch) == (index, span.branch) and (
                known is None or (known.incarnation, known.sequence) < (last.incarnation, last.sequence)
            ):
                raise Violation(f"{where} begins term {span.placed} without push {last} of worker {worker}")

    def _stale(self, where: str, g: int, push: Push, staleness: int) -> None:
        """Chief 2: between a worker's pull and its push at most max - 1 ranges are applied, plus those leased at the
        same time, plus those that passed the gate because they were given again."""
        bound = self._job.settings.bound
        if bound is None or push.lease is None:
            return
        self.staleness = max(self.staleness, staleness)
        passed, crowd = self._leases.get((push.lease.term, push.lease.number), (0, self.crowd))
        again = self.given_again - passed
        if staleness > bound - 1 + max(crowd, self.crowd) - 1 + again:
            raise Violation(f"{where}: range {g} was applied {staleness} ranges after its pull; the bound is {bound}")

    # --- servers

    def on_server(self, server: Server) -> None:
        """After a message: what was published, and whether the books still hold."""
        for index, span in server.backing.spans.items():
            self._check_state(index, span, f"the backup of span {index} on {server.me}")
        for index, span in server.spans.items():
            self._check_state(index, span, f"span {index} on {server.me}")
            if server.admitted and self._placed.get(id(span)) != span.placed:
                self._placed[id(span)] = span.placed
                self._check_said(index, span, f"span {index} on {server.me}")
            seen = (span.line, span.count)
            if self._counts.get(id(span)) == seen:
                continue
            self._counts[id(span)] = seen
            self._job.keep_alive.append(span)
            key = (index, span.line, span.count)
            content = (span.p.tobytes(), span.ordinal)
            if self._published.setdefault(key, content)[0] != content[0]:
                raise Violation(f"span {index}: version {seen} was published with two contents")

    def _check_state(self, index: int, span: Span, where: str) -> None:
        """A holding, of an owner or its neighbour: what one term placed is the same after the same changes."""
        key = (index, span.branch, span.placed, span.changes)
        if self._checked.get(id(span)) != key:
            self._checked[id(span)] = key
            self._job.keep_alive.append(span)
            theta = span.theta.tobytes()
            if self._states.setdefault(key, theta) != theta:
                raise Violation(f"{where} is not what its other holding was after {span.changes} changes")
            self._check(span.theta, span.applied.end, self._book(span), where)
            self._check_applied(span, where)

    @staticmethod
    def _book(span: Span) -> Book:
        rule = span.parts.rule
        assert isinstance(rule, TallyRule)
        return rule.book

    def _check(self, theta: F32, end: int, book: Book, where: str) -> None:
        """theta is minus what was counted, less what workers owe."""
        if not self._job.initial and not np.array_equal(-theta, book.total - book.all_owed()):
            raise Violation(f"{where}: theta is not what was pushed: {-theta} is not {book.total - book.all_owed()}")

    def _check_applied(self, span: Span, where: str) -> None:
        inside = {g for g in span.applied if g not in span.skipped}
        if inside != set(book_ranges := self._book(span).by):
            raise Violation(f"{where}: its applied set {sorted(inside)} is not what it took {sorted(book_ranges)}")

    # --- workers

    def on_pulled(self, worker: Pusher, effect: StartRange | StartEvaluation) -> None:
        """x equals p, bit for bit, within a line."""
        seen = {}
        for span in space().spans:
            version = worker.pulling.versions[span.index]
            if version is None:
                raise Violation(f"{worker.me} trains without a copy of span {span.index}")
            known = self._published.get((span.index, version.line, version.count))
            if known is None or known[0] != worker.x[span.start : span.stop].tobytes():
                raise Violation(f"{worker.me}: its copy of span {span.index} is not what was published as {version}")
            seen[span.index] = (version.line, known[1])
        self._pulled[worker.me] = seen

    def on_evaluated(self, worker: Pusher, effect: StartEvaluation, x: F32) -> None:
        if effect.key.endswith("/last"):
            self.evaluated[effect.key] = x.tobytes()

    # --- the chief

    def on_chief(self, chief: Chief) -> None:
        ledger = chief.ledger
        if ledger is None:
            return
        leases = ledger.leases
        if len(leases) > self.crowd:
            self.crowd = len(leases)
        for number, held in leases.items():
            if (chief.number, number) not in self._leases:
                self._leases[(chief.number, number)] = (self.given_again, len(leases))
                self._granted[(chief.number, number)] = held.lease.g
                if held.lease.g + 1 != ledger._next_new:
                    self.given_again += 1
        out = self._out.get(chief.number, set())
        now = set(leases)
        if out != now:
            for number in out - now:
                g = self._granted[(chief.number, number)]
                if g not in ledger.done:
                    self._free.add((chief.number, number))
            self._out[chief.number] = now
        self._check_holders(chief)

    def _check_holders(self, chief: Chief) -> None:
        ledger = chief.ledger
        assert ledger is not None
        seen: set[int] = set()
        holders = [held.worker for held in ledger.leases.values() if not held.ended]
        if len(holders) > len(set(holders)):
            raise Violation(f"a worker has two leases at once: {sorted(map(str, holders))}")
        for held in ledger.leases.values():
            if held.lease.g in seen:
                raise Violation(f"range {held.lease.g} is leased twice at once")
            seen.add(held.lease.g)
            if held.lease.g in ledger.done:
                raise Violation(f"range {held.lease.g} is done and leased")
        done = (chief.number, len(ledger.done))
        if done != self._done:
            self._done = done
            self._check_done(chief)

    def _check_done(self, chief: Chief) -> None:
        """Chief 1: what the chief calls done, every span has; while its servers are of its term."""
        ledger = chief.ledger
        assert ledger is not None
        for member in chief.servers:
            server = self._job.server(member)
            if server is None or server.machine.number != chief.number:
                continue
            for index, span in server.machine.spans.items():
                missing = [g for g in ledger.done if g not in span.applied]
                if missing:
                    raise Violation(f"ranges {missing} are called done, but span {index} lacks them")

    # --- checkpoints

    def on_index(self, call: WriteIndex) -> None:
        self.check_checkpoint(Step(call.term, call.step), call)

    def check_checkpoint(self, name: Step, index: WriteIndex) -> None:
        where = f"checkpoint {tuple(name)}"
        if sorted(index.parts) != list(range(len(space().spans))):
            raise Violation(f"{where} lacks parts: {sorted(index.parts)}")
        initial: set[bytes] = set()
        for span, ref in index.parts.items():
            part = self._job.store.parts.get(ref.path)
            if part is None:
                raise Violation(f"{where}: {ref.path} is not in the store")
            if part.damaged:
                continue
            if part.ref != ref:
                raise Violation(f"{where}: {ref.path} was written again with another content")
            self._check_part(part.data, f"{where}, span {span}")
            if name.step == 0 and "book" not in part.data.extra:
                initial.add(part.data.theta[:1].tobytes())
        if len(initial) > 1:
            raise Violation(f"{where} mixes the weights of two initialisers")

    def _check_part(self, part: PartData, where: str) -> None:
        book = book_of(part)
        if book is None:
            if np.any(part.theta) and not self._job.initial:
                raise Violation(f"{where}: initial weights are not those of the initialiser")
            return
        self._check(part.theta, part.applied.end, book, where)
        inside = {g for g in part.applied if g not in part.skipped}
        if inside != set(book.by):
            raise Violation(f"{where}: applied set {sorted(inside)} is not what is in theta: {sorted(book.by)}")

    # --- the end

    def finished(self, state: State) -> None:
        job, store = self._job, self._job.store
        assert state.finished is not None
        name = Step(state.finished.term, state.finished.step)
        index = store.indexes.get(name)
        if index is None:
            raise Violation(f"the job finished with checkpoint {tuple(name)}, which has no index")
        self.check_checkpoint(name, index)
        if name.step != job.plan.steps:
            raise Violation(f"the job finished at step {name.step} of {job.plan.steps}")
        parts = {span: store.parts[ref.path].data for span, ref in index.parts.items()}
        self._check_counts(parts)
        self._check_evaluated(name, parts)
        for on_lineage in lineage.lineage(name.term, store.bases, store.steps()):
            self.check_checkpoint(on_lineage, store.indexes[on_lineage])
        self._check_flushed(name, parts)

    def _check_counts(self, parts: dict[int, PartData]) -> None:
        """Every range exactly once in every span, or skipped in all."""
        plan = self._job.plan
        skipped = parts[0].skipped
        for span, part in parts.items():
            if part.skipped != skipped:
                raise Violation(f"span {span} skipped {sorted(part.skipped)}, span 0 {sorted(skipped)}")
            book = book_of(part)
            ranges: set[int] = set(book.by) if book is not None else set()
            if ranges | skipped != set(range(plan.count)) or ranges & skipped:
                raise Violation(f"span {span} has {sorted(ranges)} and skipped {sorted(skipped)} of {plan.count}")
        if not skipped <= self._job.ever_bad:
            raise Violation(f"ranges {sorted(skipped)} were skipped, although they can be trained")

    def _check_evaluated(self, name: Step, parts: dict[int, PartData]) -> None:
        """What was evaluated is what is saved."""
        x = self.evaluated.get(f"evaluate/{name.term}/{name.step}/last")
        theta = np.concatenate([parts[span].theta for span in sorted(parts)])
        if x is not None and x != theta.tobytes():
            raise Violation("what was evaluated at the end is not what is in the last checkpoint")

    def _check_flushed(self, name: Step, parts: dict[int, PartData]) -> None:
        """A worker that nothing happened to owes nothing at the end."""
        for worker in self._job.calm_workers():
            for span, part in parts.items():
                book = book_of(part)
                owed = book.owed.get(str(worker)) if book is not None else None
                if owed is not None and np.any(owed):
                    raise Violation(f"{worker} was there all the time, but its residual misses span {span}")
