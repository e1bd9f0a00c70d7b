"""A parameter server: the thin edge around protocol/serving.py, and around protocol/chief.py in server 0 of a term.

    python -m deepseek_runtime.server      (identity and config from the environment: contract/names.py)

One thread runs the machines; etcd, the store and ZeroMQ have threads of their own. No torch here: a server knows
vectors, not models, and registers before numba is imported, because that is most of a recovery.
"""

import logging
import queue
import signal
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from deepseek_runtime import compression
from deepseek_runtime.contract import exit_codes
from deepseek_runtime.contract.config import JobConfig
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import Registration, Request, TermRecord
from deepseek_runtime.edge import journal, parts
from deepseek_runtime.edge.counting import counted
from deepseek_runtime.edge.joining import membership_of
from deepseek_runtime.edge.kept_journal import KeptJournal
from deepseek_runtime.edge.outside import Etcd, Storage
from deepseek_runtime.edge.process import Exit, Identity, identity, leave, published, start_logging
from deepseek_runtime.edge.progress import Reporter
from deepseek_runtime.protocol import encoding
from deepseek_runtime.protocol import term as terms
from deepseek_runtime.protocol.chief import Chief
from deepseek_runtime.protocol.effects import (
    Effect,
    Fail,
    Failed,
    ListWorkers,
    LoadParts,
    LogPush,
    Note,
    ReadTerm,
    RollBack,
    Send,
    WriteState,
)
from deepseek_runtime.protocol.messages import Beat, Hello, Message, Report
from deepseek_runtime.protocol.server_orders import AppliedReport, Done, Joined
from deepseek_runtime.protocol.serving import Server
from deepseek_runtime.protocol.settings import settings_of
from deepseek_runtime.protocol.speakers import may_say
from deepseek_runtime.transport import Post, load_keys
from deepseek_runtime.transport.allocator import keep_freed_memory
from deepseek_runtime.transport.curve import KeysError, lanes

logger = logging.getLogger("deepseek_runtime.server")
TICK = 0.1
"""Seconds between two looks at the clock."""
KEEP = 30.0
"""Seconds between two times that measurements are stored, however far apart checkpoints are."""


class ServerProcess:
    """Everything that this process holds. `run` returns when a signal ends it."""

    def __init__(self, who: Identity) -> None:
        config: JobConfig = who.config
        self.who = who
        self.config = config
        try:
            keys = load_keys(who.secrets, "server") if who.secrets else None
        except KeysError as error:
            raise Exit(exit_codes.CONFIG, "KeysInvalid", str(error)) from error
        self.post = Post(str(who.me), keys, threads=lanes(keys))
        self.results: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        self.membership = membership_of(who, self.post.wake)
        self.etcd = Etcd(self.membership, self._done, config.timing.registration_ttl)
        self.pushes = journal.pushes(config.data_dir, who.me.index)
        kept = KeptJournal(self.pushes, who.me) if config.keep_journals else None
        self.metrics = journal.metrics(config.data_dir) if who.me.index == 0 else journal.Journal(None)
        measured = KeptJournal(self.metrics, who.me, kind="metrics") if config.keep_journals else None
        self.storage = Storage(config, self._done, kept, measured)
        self.machine = Server(
            who.me,
            lambda space, index, samples: parts.span_parts(config, space, index, samples),
            config.timing.heartbeat,
        )
        self.chief: Chief | None = None
        self.reporter = Reporter(config)
        self.stopping: int | None = None
        self._local: deque[Message] = deque()
        self._dialled: set[Member] = set()
        """Servers dial one another: for the chief's orders, for changes and spans on their way to another server."""
        self._progress_at = 0.0
        self._progress_flying = False
        self._kept_at = time.monotonic()
        self._keeping = False
        self._emptied = 0
        self._commands: set[str] = set()
        self._asking: tuple[str, Request] | None = None
        self._ask_at: float | None = None

    def _done(self, call: Any, result: Any) -> None:
        """On the threads of outside.py."""
        self.results.put((call, result))
        self.post.wake()

    # --- the loop

    def run(self) -> None:
        try:
            address = published(self.post.listen(self.config.bind))
        except (OSError, ValueError) as error:
            raise Exit(exit_codes.CRASHED, "CannotListen", str(error)) from error
        self.membership.start()
        me = self.who.me
        registration = Registration(address=address, incarnation=me.incarnation, state="starting")
        self.membership.register("server", me.index, registration)
        logger.info("listening on %s", address)
        # Kernels are needed with the first push or pull, and take a second to load: not before the term opens.
        kernels = threading.Thread(target=self._load_kernels, name="kernels", daemon=True)
        kernels.start()
        while self.stopping is None:
            for sender, wire in self.post.receive(TICK):
                self._receive(sender, wire)
            self.machine.wire_bytes = self.post.bytes_sent + self.post.bytes_received
            now = time.monotonic()
            while not self.results.empty():
                call, result = self.results.get_nowait()
                self._result(call, result, now)
            self._observe(now)
            if self._ask_at is not None and now >= self._ask_at:
                self._ask_at = None
                self._ask_again()
            self.carry_out(self.machine.on_tick(now))
            if self.chief is not None:
                self.carry_out(self.chief.on_tick(now))
                self._report(now)
            if registration.state == "starting" and not kernels.is_alive():
                registration = registration.model_copy(update={"state": "ready"})
                self.membership.register("server", me.index, registration)
            if self.membership.superseded:
                raise Exit(exit_codes.OK, "Superseded", "a newer incarnation of this server is registered")

    def _load_kernels(self) -> None:
        compression.load()
        self.post.wake()

    def _receive(self, sender: str, wire: Any) -> None:
        try:
            member, message = Member.parse(sender), encoding.decode(wire)
        except ValueError as error:
            self.post.refused["message"] += 1
            logger.warning("refused a message of %s: %s", sender, error)
            return
        if not may_say(member.role, message):
            self.post.refused["speaker"] += 1
            logger.warning("refused a %s of %s", type(message).__name__, sender)
            return
        self.deliver(member, message)

    def deliver(self, sender: Member, message: Message) -> None:
        now = time.monotonic()
        if isinstance(message, Hello | Beat | Report | Joined | Done | AppliedReport):
            if self.chief is not None:
                self.carry_out(self.chief.on_message(sender, message, now))
            return
        before = self.machine.number
        self.carry_out(self.machine.on_message(sender, message, now))
        if self.machine.number != before and self.machine.record is not None:
            self._followed(self.machine.record, now)

    def _result(self, call: Any, result: Any, now: float) -> None:
        if call == "progress":
            self._progress_flying = False
            return
        if call == "measured":
            self._keeping = False  # what was not stored comes with the next, longer one
            return
        if call == "request":
            # Failed: etcd did not answer. False: another term, which has a chief of its own.
            self._ask_at = now + 1.0 if isinstance(result, Failed) else None
            return
        if call == "count":
            self._counted(result)
            return
        if isinstance(call, WriteState) and call.state.finished is not None and result is True:
            self._count()
        if isinstance(call, LoadParts) and not isinstance(result, Failed):
            self._log(journal.begins(call, result))
        self.carry_out(self.machine.on_result(call, result, now))
        if self.chief is not None:
            self.carry_out(self.chief.on_result(call, result, now, time.time()))

    # --- etcd

    def _observe(self, now: float) -> None:
        """What the watch has brought since."""
        self.etcd.observe()
        view = self.membership.view()
        if view.term is not None and self.machine.follows(view.term):
            self.carry_out(self.machine.on_term(view.term, now))
            self._followed(view.term, now)
        if view.emptied > self._emptied:
            self._emptied = view.emptied
            if self.chief is not None:
                self.carry_out(self.chief.on_state_lost())
        if self.chief is None:
            return
        for worker in list(self.chief.workers.seen):
            registered = view.registrations.get(("worker", worker.index))
            if registered is not None and registered.incarnation > worker.incarnation:
                self.carry_out(self.chief.on_replaced(worker, now))
        for id, command in view.commands.items():
            if command.acknowledged or id in self._commands:
                continue
            self._commands.add(id)
            logger.info("command %s: %s", id, command.kind)
            if command.kind == "drain":
                self.chief.drain()
            elif command.kind == "checkpoint":
                self.chief.checkpoint()
            answer = command.model_copy(update={"acknowledged": True})
            self.etcd.submit("command", partial(self.membership.acknowledge, id, answer))

    def _followed(self, record: TermRecord, now: float) -> None:
        """A new term: whom to dial, and whether this process is its chief."""
        logger.info("term %d: servers %s", record.number, ", ".join(map(str, terms.servers(record))))
        me = self.who.me
        named = terms.named(record) if me in terms.named(record) else ()
        for gone in self._dialled - set(named):
            self.post.hang_up(str(gone))
        self._dialled = {member for member in named if member != me}
        for member in sorted(self._dialled):
            self.post.dial(str(member), terms.address(record, member))
        self.chief = None
        self._commands.clear()
        if terms.chief(record) != me:
            return
        self.reporter.adopt(self.membership.view().progress)
        known = self.reporter.earlier
        self.chief = Chief(record, settings_of(self.config), known.guard if known is not None else None)
        self.carry_out(self.chief.start(now))

    # --- effects

    def carry_out(self, effects: Iterable[Effect]) -> None:
        """In order; what goes to ourselves goes round without a socket."""
        for effect in effects:
            if isinstance(effect, Send):
                self._send(effect)
            elif isinstance(effect, LogPush):
                self._log(effect.line)
            elif isinstance(effect, Note):
                self._note(effect)
            elif isinstance(effect, Fail):
                self._fail(effect)
            elif isinstance(effect, RollBack):
                self._ask("roll_back", Request(kind="roll_back", term=self.machine.number, reason=effect.text))
            elif isinstance(effect, ReadTerm | WriteState | ListWorkers):
                self.etcd.call(effect)
            else:
                self.storage.call(effect)  # type: ignore[arg-type]
        while self._local:
            self.deliver(self.who.me, self._local.popleft())

    def _log(self, line: Mapping[str, Any]) -> None:
        wire = self.post.bytes_sent + self.post.bytes_received
        self.pushes.write({"me": self.who.me.incarnation, "wire": wire, **line})

    def _send(self, effect: Send) -> None:
        if effect.to == self.who.me:
            self._local.append(effect.message)
        else:
            # False is no loss: everything is told again until it is answered.
            self.post.send(str(effect.to), encoding.encode(effect.message))

    def _note(self, note: Note) -> None:
        logger.log(logging.WARNING if note.warning else logging.INFO, "%s %s", note.reason, note.text)
        self.reporter.note(note)
        step = self.chief.ledger.steps_done if self.chief is not None and self.chief.ledger is not None else None
        line = {"event": note.reason, "text": note.text, "term": self.machine.number, "step": step}
        self.metrics.write(journal.stamped({**line, **note.fields}))
        self._progress_at = 0.0

    def _fail(self, fail: Fail) -> None:
        """The operator ends the job: said until it stands in etcd."""
        logger.error("%s %s", fail.reason, fail.text)
        request = Request(kind="fail", term=self.machine.number, reason=f"{fail.reason}: {fail.text}", code=fail.code)
        self._ask("fail", request)

    def _ask(self, kind: str, request: Request) -> None:
        """Of the operator: said until it stands in etcd."""
        self._asking = (f"{kind}-{self.machine.number}-{uuid.uuid4().hex[:8]}", request)
        if self.chief is not None:
            # In the order given: who reads the request acts on it, and shall know what led to it.
            self._tell_progress(self.chief, time.monotonic())
        self._ask_again()

    def _ask_again(self) -> None:
        if self._asking is not None:
            id, request = self._asking
            self.etcd.submit("request", lambda: self.membership.put_request(id, request))

    # --- people

    def _report(self, now: float) -> None:
        """Progress to etcd, measurements to metrics.jsonl."""
        chief = self.chief
        if chief is None:
            return
        rows = chief.tracking.rows
        while rows and chief.ledger is not None:
            row = rows.popleft()
            step = chief.ledger.steps_done
            line = {"term": chief.number, "step": step, "wire": chief.tracking.wire_bytes}
            self.metrics.write(journal.stamped({**line, **row}))
        if not self._progress_flying and now - self._progress_at >= self.config.timing.progress:
            self._tell_progress(chief, now)
        if not self._keeping and now - self._kept_at >= KEEP:
            self._kept_at = now
            self._keeping = self.storage.keep_measured("measured")

    def _tell_progress(self, chief: Chief, now: float) -> None:
        record = self.reporter.record(chief, now, time.time())
        if record is not None:
            self._progress_at = now
            put = partial(self.membership.put_progress, record, chief.number)
            self._progress_flying = self.etcd.submit("progress", put)

    def _count(self) -> None:
        """All is done, and the last checkpoint has it: what was trained is counted where the journals are."""
        if self.config.keep_journals and not self.reporter.counted:
            self.storage.submit("count", lambda store: counted(self.config, store))

    def _counted(self, result: Any) -> None:
        if isinstance(result, Failed):
            logger.warning("samples are not counted: %s", result.text)
            return
        logger.info("counted: %s", result)
        self.reporter.counted = result
        self._progress_at, self._progress_flying = 0.0, False
        self._report(time.monotonic())

    def close(self) -> None:
        self._log({})  # what went over the wire since the last push
        self.storage.keep_rest()
        self.storage.close(10.0)
        while not self.results.empty():
            call, result = self.results.get_nowait()
            if call == "count":
                self._counted(result)
        self.etcd.close(2.0)
        self.membership.close()
        self.post.close()
        self.pushes.close()
        self.metrics.close()


def main() -> int:
    who: Identity | None = None
    try:
        keep_freed_memory()
        who = identity("server")
        start_logging(who)
        process = ServerProcess(who)

        def stop(number: int, frame: object) -> None:
            process.stopping = number

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process.run()
        finally:
            process.close()
    except Exit as exit:
        return leave(who, exit)
    except Exception as error:
        logging.getLogger("deepseek_runtime").exception("the server crashed")
        return leave(who, Exit(exit_codes.CRASHED, "ServerCrashed", f"{type(error).__name__}: {error}"))
    return leave(who, Exit(exit_codes.OK, "Stopped"))


if __name__ == "__main__":
    sys.exit(main())
