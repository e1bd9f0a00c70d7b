"""A member that trains nothing: it registers, and speaks the etcd side of the protocol as server or worker.

Run as a script by the supervisor under test. What goes wrong with it is said in `training.args`:
`exits: {"worker/1": [code, message]}` ends each incarnation of that seat so, as soon as the term is open. `hold: true`:
the job does not finish before there is a file `release` in its state folder.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from deepseek_runtime.contract.config import JobConfig, load_config
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.names import (
    ENV_CONFIG,
    ENV_EXIT_FILE,
    ENV_INCARNATION,
    ENV_INDEX,
    ENV_ROLE,
    ENV_SECRETS,
    ROLES,
)
from deepseek_runtime.contract.records import ExitRecord, Finished, Progress, Registration, State
from deepseek_runtime.membership import Membership, TlsFiles, Unavailable, View

TICK = 0.05


class FakeMember:
    def __init__(self, config: JobConfig) -> None:
        self.config = config
        self.role = next(role for role in ROLES if role == os.environ[ENV_ROLE])
        self.index = int(os.environ[ENV_INDEX])
        self.incarnation = int(os.environ[ENV_INCARNATION])
        self.trained = 0
        self.step = 0
        self.state = State()
        self.news = threading.Event()
        self.leaving = False
        signal.signal(signal.SIGTERM, self._asked)
        keys = JobKeys.of(config.install, config.namespace, config.job, config.uid)
        self.membership = Membership(
            config.etcd,
            keys,
            tls=TlsFiles.of(config.etcd_tls, os.environ[ENV_SECRETS]),
            ttl=config.timing.registration_ttl,
            call_timeout=1.0,
            on_change=self.news.set,
        )

    def _asked(self, number: int, frame: object) -> None:
        self.leaving = True
        self.news.set()

    def run(self) -> int:
        self.membership.start()
        self._register()
        while True:
            self.news.wait(TICK)
            self.news.clear()
            if self.leaving:
                return self._leave(0, "Drained")
            view = self.membership.view()
            if view.unknown_since is not None or view.term is None:
                continue
            if self.role == "worker":
                code = self._work(view)
                if code is not None:
                    return code
            elif view.term.servers[0].incarnation == self.incarnation and self.index == 0:
                try:
                    self._lead(view)
                except Unavailable:
                    continue

    def _register(self) -> None:
        address = f"tcp://127.0.0.1:{7000 + self.index}" if self.role == "server" else ""
        self.membership.register(
            self.role,
            self.index,
            Registration(address=address, incarnation=self.incarnation, trained=self.trained),
        )

    def _work(self, view: View) -> int | None:
        assert view.term is not None
        state = view.state
        if state is None or state.opened < view.term.number:
            return None
        exits = self.config.training.args.get("exits", {}).get(f"worker/{self.index}")
        if exits is not None:
            return self._leave(exits[0], "UserCodeRaised", exits[1])
        if state.finished is not None:
            return self._leave(0, "Finished")
        if state.drained >= view.term.number:
            return self._leave(0, "Drained")
        if self.trained == 0:
            self.trained = 1
            self._register()
        return None

    def _lead(self, view: View) -> None:
        assert view.term is not None
        number, steps = view.term.number, self.config.training.steps or 1
        registered = {(i, r.incarnation) for (role, i), r in view.registrations.items() if role == "server"}
        if not {(s.index, s.incarnation) for s in view.term.servers} <= registered:
            return
        if self.state.opened < number:
            self.state = State(opened=number)
        workers = sum(role == "worker" for role, _ in view.registrations)
        if workers:
            self.step = min(steps, self.step + 1)
        if any(c.kind == "drain" and not c.acknowledged for c in view.commands.values()):
            self.state = self.state.model_copy(update={"drained": number})
        elif self.step == steps and not self._held():
            self.state = self.state.model_copy(update={"finished": Finished(term=number, step=steps)})
        if self.state != view.state:
            self.membership.put_state(self.state, number)
        progress = Progress(
            term=number, step=self.step, steps=steps, workers=workers, last_range_time=time.time() if workers else None
        )
        self.membership.put_progress(progress, number)

    def _held(self) -> bool:
        holds = self.config.training.args.get("hold", False)
        return bool(holds) and not (Path(self.config.data_dir) / "release").exists()

    def _leave(self, code: int, reason: str, message: str = "") -> int:
        self.membership.close()
        record = ExitRecord(code=code, reason=reason, message=message, first_range=self.trained == 0)
        target = Path(os.environ[ENV_EXIT_FILE])
        draft = target.with_suffix(".new")
        draft.write_text(record.model_dump_json())
        draft.replace(target)
        return code


if __name__ == "__main__":
    sys.exit(FakeMember(load_config(os.environ[ENV_CONFIG])).run())
