"""What listens on this machine's 127.0.0.1 is also found on the 127.0.0.1 of namespaces.

A job's etcd shows a certificate for 127.0.0.1, and is no part of what the benchmarks count or shape: its bytes go over
the namespaces' lo, and are counted there.
"""

import asyncio
import ctypes
import os
import socket
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from bench._net.network import namespace

CLONE_NEWNET: Final = 0x40000000
PIECE: Final = 1 << 16


class Relay:
    """Of one port, into these hosts. Its own thread, until `close`."""

    def __init__(self, hosts: Iterable[str], port: int) -> None:
        """Raises OSError."""
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self._links: set[asyncio.Task[None]] = set()
        for host in hosts:
            listening = _listen(namespace(host), port)
            asyncio.run_coroutine_threadsafe(self._serve(listening), self._loop).result(10.0)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)
        self._loop.close()

    async def _serve(self, listening: socket.socket) -> None:
        await asyncio.start_server(self._connected, sock=listening, limit=PIECE)

    async def _end(self) -> None:
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, to = await asyncio.open_connection("127.0.0.1", self._port, limit=PIECE)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(_pipe(reader, to), _pipe(there, writer))
        finally:
            to.close()
            writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()  # and with it the other direction


def _listen(inside: str, port: int) -> socket.socket:
    """A socket belongs to the namespace in which it was made; only a thread of its own goes there."""

    def made() -> socket.socket:
        libc = ctypes.CDLL(None, use_errno=True)
        handle = os.open(f"/run/netns/{inside}", os.O_RDONLY)
        try:
            if libc.setns(handle, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter the namespace {inside}")
        finally:
            os.close(handle)
        return socket.create_server(("127.0.0.1", port))

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(made).result(10.0)
