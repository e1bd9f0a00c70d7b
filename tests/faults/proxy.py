"""A TCP proxy between two members, which delays, cuts, stalls and heals what passes.

All proxies of a process share one thread that runs while any of them lives.

    with Proxy(target) as proxy:
        worker.dial("server-0-0", proxy.address)
        proxy.cut()
        proxy.heal()
"""

import asyncio
import socket
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

T = TypeVar("T")

_WAIT = 10.0
"""Seconds until a call into the proxies' thread is given up."""
_BLOCK = 64 << 10
"""Bytes read at a time; also about what a stalled direction takes in before TCP holds its sender back."""


class _Loop:
    """The event loop in its thread, counted by the proxies that use it."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _users: ClassVar[int] = 0
    _loop: ClassVar[asyncio.AbstractEventLoop | None] = None
    _thread: ClassVar[threading.Thread | None] = None

    @classmethod
    def enter(cls) -> asyncio.AbstractEventLoop:
        with cls._lock:
            if cls._loop is None:
                cls._loop = asyncio.new_event_loop()
                cls._thread = threading.Thread(target=cls._loop.run_forever, name="proxies", daemon=True)
                cls._thread.start()
            cls._users += 1
            return cls._loop

    @classmethod
    def leave(cls) -> None:
        with cls._lock:
            cls._users -= 1
            if cls._users or cls._loop is None or cls._thread is None:
                return
            asyncio.run_coroutine_threadsafe(_settle(), cls._loop).result(_WAIT)
            cls._loop.call_soon_threadsafe(cls._loop.stop)
            cls._thread.join(_WAIT)
            cls._loop.close()
            cls._loop = cls._thread = None


async def _settle() -> None:
    """Until nothing is under way: connections accepted at the last moment, and the ends of others."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)
    for _ in range(3):  # closing a transport takes two turns of the loop
        await asyncio.sleep(0)


class Proxy:
    """Forwards 127.0.0.1:`port` to `target` ("tcp://host:port" or "host:port").

    The methods may be called from any thread. The port is held until `close`, also while the proxy refuses.
    forwarded: bytes passed on, both ways.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("tcp://").rpartition(":")
        self._target = (host, int(port))
        # Bound but not listening: connections are refused, and nobody else gets the port.
        self._holder = _bound(("127.0.0.1", 0))
        self.port: int = self._holder.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.forwarded = 0
        self._delay = 0.0
        self._listener: socket.socket | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._closed = False
        self._loop = _Loop.enter()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._call(self._listen())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def delay(self, seconds: float) -> None:
        """Whatever is read from now on is passed on that much later; 0 ends it. Order is kept."""
        self._delay = seconds

    def stall(self) -> None:
        """Goes on accepting, but passes nothing on; what was sent is kept (here and in TCP's buffers)."""
        self._call(self._set_flowing(False))

    def cut(self) -> None:
        """Resets all connections, what they held is lost, and refuses new ones."""
        self._call(self._cut())

    def heal(self) -> None:
        """Ends cut, stall and delay."""
        self._delay = 0.0
        self._call(self._heal())

    def close(self) -> None:
        """Resets all connections and frees the port. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._call(self._cut())
        self._holder.close()
        _Loop.leave()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_WAIT)

    async def _set_flowing(self, flowing: bool) -> None:
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = _bound(("127.0.0.1", self.port))
            self._listener.setblocking(False)
            self._listener.listen(64)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        # By hand: a connection that asyncio's own server accepts while it is being closed is leaked.
        try:
            near, _ = listener.accept()
        except OSError:
            return  # it has gone again
        link = self._loop.create_task(self._link(near))
        self._links.add(link)
        link.add_done_callback(self._links.discard)
        link.add_done_callback(lambda _: near.close())

    async def _heal(self) -> None:
        self._flowing.set()
        await self._listen()

    async def _cut(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            self._loop.remove_reader(listener)
            listener.close()
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def _link(self, near: socket.socket) -> None:
        """One connection and its onward one, until either ends or the proxy cuts them."""
        near.setblocking(False)
        ends: list[asyncio.StreamWriter] = []
        try:
            await self._flowing.wait()
            reader, writer = await asyncio.open_connection(sock=near, limit=_BLOCK)
            ends.append(writer)
            onward_reader, onward = await asyncio.open_connection(*self._target, limit=_BLOCK)
            ends.append(onward)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._forward(reader, onward))
                both.create_task(self._forward(onward_reader, writer))
        except* OSError:
            pass  # one end is gone: so is the other, below
        finally:
            for end in ends:
                _reset(end)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction, until its reader ends; then the whole link does."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._pass_on(late, writer))
            while data := await reader.read(_BLOCK):
                await late.put((self._loop.time() + self._delay, data))
            await late.put((self._loop.time() + self._delay, b""))

    async def _pass_on(self, late: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, data = await late.get()
            await asyncio.sleep(due - self._loop.time())
            await self._flowing.wait()
            if not data:
                raise ConnectionError("one end is gone")
            writer.write(data)
            await writer.drain()
            self.forwarded += len(data)


def _bound(address: tuple[str, int]) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(address)
    return one


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes with RST, so that the other side knows at once that what was under way is lost."""
    peer = writer.get_extra_info("socket")
    if peer is not None and peer.fileno() >= 0:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
