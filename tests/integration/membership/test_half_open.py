"""A connection whose other end is gone without a word, as after a firewall forgot it: new connections work."""

import selectors
import socket
import threading
from collections.abc import Iterator

import pytest

from builders.etcd import Join, LocalEtcd
from deepseek_runtime.contract.records import Registration, State, TermRecord


class Hose:
    """Passes bytes between a port and etcd; `clog` swallows all bytes of the connections that are open now."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.pairs: dict[socket.socket, socket.socket] = {}
        self.clogged: set[socket.socket] = set()
        self.accepted = 0
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def clog(self) -> None:
        self.clogged = set(self.pairs)

    def close(self) -> None:
        self.ending.set()
        self.thread.join(5.0)
        for open_socket in (self.listener, *self.pairs):
            open_socket.close()
        self.selector.close()

    def _run(self) -> None:
        while not self.ending.is_set():
            for key, _ in self.selector.select(0.1):
                if isinstance(key.data, socket.socket):
                    self._pass(key.data)
                else:
                    self._accept()

    def _accept(self) -> None:
        near, _ = self.listener.accept()
        far = socket.create_connection(self.target)
        self.accepted += 1
        for one, other in ((near, far), (far, near)):
            self.pairs[one] = other
            self.selector.register(one, selectors.EVENT_READ, one)

    def _pass(self, one: socket.socket) -> None:
        try:
            data = one.recv(65536)
            if data and one not in self.clogged:
                self.pairs[one].sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in (one, self.pairs[one]):
                if end in self.pairs:
                    self.selector.unregister(end)
                    end.close()
            other = self.pairs.pop(one)
            self.pairs.pop(other, None)


@pytest.fixture
def hose(shared: LocalEtcd) -> Iterator[Hose]:
    passing = Hose(("127.0.0.1", shared.ports.client))
    yield passing
    passing.close()


def test_a_silent_connection_is_noticed_and_replaced(shared: LocalEtcd, hose: Hose, join: Join) -> None:
    writer, reader = join(shared), join(shared, endpoint=hose.endpoint)
    reader.register("server", 0, Registration(incarnation=1))
    assert writer.raise_term(TermRecord(number=1, servers=()))
    assert reader.until(lambda: reader.view().term is not None)
    assert hose.accepted == 1
    hose.clog()
    assert writer.put_state(State(opened=1), 1)
    assert reader.until(lambda: reader.view().state == State(opened=1))
    assert hose.accepted >= 2
    assert reader.view().emptied == 0
    assert writer.until(lambda: ("server", 0) in writer.view().registrations)
