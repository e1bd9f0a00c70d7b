"""Processes of a benchmark that do one thing at a time, when they are told."""

import multiprocessing as mp
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

PATIENCE = 600.0
"""Seconds until an answer that never comes ends the benchmark."""


class Remote:
    """A process that runs `target(pipe, *arguments)`: it answers each request that comes through the pipe."""

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        context = mp.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, *request: Any) -> Any:
        """What it answers. Raises TimeoutError, EOFError when it is dead."""
        self.tell(*request)
        return self.answer()

    def tell(self, *request: Any) -> None:
        self._pipe.send(request)

    def answer(self) -> Any:
        if not self._pipe.poll(PATIENCE):
            raise TimeoutError(f"{self.process.name} does not answer")
        return self._pipe.recv()

    def close(self) -> None:
        self.process.kill()
        self.process.join(PATIENCE)
        self._pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def answering(pipe: Connection, do: Callable[..., Any]) -> None:
    """Answers request after request with what `do` returns, until the other side is gone."""
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        pipe.send(do(*request))
