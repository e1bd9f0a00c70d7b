"""A real etcd that tests may hurt, and members that wait for what they are to see."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from deepseek_operator.executors import etcd, etcd_tls
from deepseek_operator.executors.etcd_tls import EtcdFiles
from deepseek_runtime.contract.config import EtcdTls
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.membership import Membership, TlsFiles

CALL = 0.5
"""Seconds: short, so that silence is noticed soon."""
TTL = 2.0
"""The least that etcd takes."""


class LocalEtcd:
    """One etcd that can be killed, paused and started again, always empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = etcd.choose_ports()
        etcd_tls.make(folder / "secrets", "uid-of-tests")
        self.files = EtcdFiles.in_folder(folder / "secrets")
        self.process: etcd.EtcdProcess | None = None
        self.start()

    @property
    def endpoint(self) -> str:
        return self.ports.endpoint

    @property
    def tls(self) -> TlsFiles | None:
        """A client's."""
        return TlsFiles.of(EtcdTls(), self.folder / "secrets")

    def start(self) -> None:
        self.process = etcd.start(self.folder, self.ports, self.files, log=self.folder / "etcd.log")

    def kill(self) -> None:
        if self.process is not None:
            assert etcd.kill(self.process)
            self.process = None

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)


class Watched(Membership):
    """`until` waits for what a view, or the test's own etcd connection, is to show."""

    def __init__(
        self,
        endpoints: Sequence[str],
        keys: JobKeys,
        *,
        tls: TlsFiles | None,
        ttl: float = TTL,
        call_timeout: float = CALL,
    ) -> None:
        self._moved = threading.Condition()
        super().__init__(endpoints, keys, tls=tls, ttl=ttl, call_timeout=call_timeout, on_change=self._notify)

    def _notify(self) -> None:
        with self._moved:
            self._moved.notify_all()

    def until(self, fits: Callable[[], bool], timeout: float = 15.0) -> bool:
        """Looks at each change, and now and then besides: not all that is waited for is in a view."""
        deadline = time.monotonic() + timeout
        with self._moved:
            while not fits():
                if time.monotonic() > deadline:
                    return False
                self._moved.wait(0.05)
        return True


class Join(Protocol):
    """join(etcd): a started and listed member of the test's job, closed at its end. endpoint: by way of a proxy."""

    def __call__(self, etcd: LocalEtcd, *, endpoint: str = "", ttl: float = TTL) -> Watched: ...
