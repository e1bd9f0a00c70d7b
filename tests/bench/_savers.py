"""Processes of bench-checkpoint: a server and a worker that store while they go on, and what torch offers instead."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from bench._members import BenchServer, BenchWorker, config_of, space_of
from bench._remote import answering
from deepseek_runtime.checkpoint.store import open_store
from deepseek_runtime.checkpoint.write import write_part
from deepseek_runtime.checkpoint.writer import Writer
from deepseek_runtime.edge import outside
from deepseek_runtime.protocol.effects import WriteParts
from deepseek_runtime.protocol.server_orders import Order, Save
from deepseek_runtime.transport.allocator import keep_freed_memory

MOMENTS = ("exp_avg", "exp_avg_sq")


class Peak:
    """Bytes that this process held at most since the beginning, beyond what it held then (Linux)."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before = _status("VmRSS")

    def bytes(self) -> int:
        return max(0, _status("VmHWM") - self._before)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name + ":"))


def server(pipe: Connection, parameters: int, folder: str) -> None:
    """Requests: ("save", step); ("done",): (seconds, peak bytes, what failed) of the last one, or None."""
    keep_freed_memory()
    one = BenchServer(0, "", config_of(64))
    pipe.send(one.address)
    (record,) = pipe.recv()
    one.open(record, space_of(parameters, 64))
    writer = Writer(open_store(folder))
    result: list[Any] = []
    pipe.send("open")
    began, peak = 0.0, Peak()
    while True:
        if pipe.poll(0):
            request = pipe.recv()
            if request[0] == "done":
                pipe.send(result[0] if result else None)
            else:
                began, step = time.perf_counter(), request[1]
                peak, result = Peak(), []
                order = Order(1, 100 + step, Save(step))
                (call,) = one.machine.on_message(one.chief, order, time.monotonic())
                assert isinstance(call, WriteParts)

                def done(files: Any, kept: list[Any] = result, since: float = began, most: Peak = peak) -> None:
                    failed = "" if isinstance(files, dict) else str(files)
                    kept.append((time.perf_counter() - since, most.bytes(), failed))

                writer.submit(partial(outside._write_parts, call=call, done={}), done)
                pipe.send(time.perf_counter() - began)
        one.step()


def worker(pipe: Connection, parameters: int, folder: str) -> None:
    """Requests: ("round",): seconds of a push; ("save", step): seconds until the moments are copied; ("done",)."""
    keep_freed_memory()
    space = space_of(parameters, 64)
    (record,) = pipe.recv()
    one = BenchWorker(0, "", config_of(64), record, space)
    draw = np.random.default_rng(0)
    difference = draw.standard_normal(space.size, np.float32)
    moments = {f"weight/{name}": draw.standard_normal(space.size, np.float32) for name in MOMENTS}
    store = open_store(folder)
    result: list[Any] = []
    pipe.send("ready")

    def keep(step: int, copied: dict[str, Any], began: float, peak: Peak, kept: list[Any]) -> None:
        write_part(store, f"t1/step-{step}/moments.safetensors", copied, {})
        kept.append((time.perf_counter() - began, peak.bytes(), ""))

    while True:
        while not pipe.poll(0):
            one.idle()
        request = pipe.recv()
        if request[0] == "round":
            one.pull()
            pipe.send(one.push(difference.copy()))
        elif request[0] == "done":
            pipe.send(result[0] if result else None)
        else:
            result = []
            began, peak = time.perf_counter(), Peak()
            copied = {name: array.copy() for name, array in moments.items()}
            arguments = (request[1], copied, began, peak, result)
            threading.Thread(target=keep, args=arguments, daemon=True).start()
            del copied, arguments
            pipe.send(time.perf_counter() - began)


def torch_saver(pipe: Connection, parameters: int, folder: str) -> None:
    """Requests: ("torch.save", step), ("async_save", step): seconds that the caller waits, in all, and peak bytes."""
    import torch
    import torch.distributed as dist
    import torch.distributed.checkpoint as checkpoint

    dcp: Any = checkpoint
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=0, world_size=1)
    generator = torch.Generator().manual_seed(0)
    names = ("weight", *MOMENTS)
    state: dict[str, Any] = {name: torch.randn(parameters, generator=generator) for name in names}

    def do(what: str, step: int) -> tuple[float, float, int]:
        peak, began = Peak(), time.perf_counter()
        if what == "torch.save":
            with _synced(f"{folder}/torch-{step}.pt") as file:
                torch.save(state, file)
            waited = time.perf_counter() - began
        else:
            future = dcp.async_save(state, checkpoint_id=f"{folder}/dcp-{step}")
            waited = time.perf_counter() - began
            future.result()
        return waited, time.perf_counter() - began, peak.bytes()

    pipe.send("ready")
    answering(pipe, do)


@contextmanager
def _synced(path: str) -> Iterator[Any]:
    with open(path, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
