"""`make bench-fuzz`: mutated and made-up frames against a live server for FUZZ_SECONDS (600).

Two peers that have a worker's keys, one that has none, and one that sends rubbish over TCP; beside them an honest
worker that pulls and pushes. The server runs the loop of server.py around the real machines, chief included, and
keeps a second account of its weights.
"""

import os
import random
import resource
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from bench._attacked import Attacked
from bench._members import BenchWorker, config_of, space_of
from bench._remote import Remote
from bench._table import Row, machine, publish
from builders.hostile import Hostile
from deepseek_runtime.contract.records import TermRecord
from deepseek_runtime.transport import load_keys, make_job_keys
from deepseek_runtime.transport.allocator import keep_freed_memory

SECONDS = float(os.environ.get("FUZZ_SECONDS", "600"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
PARAMETERS = 16 * 4096
SPANS = 8
GROWTH = 32 << 20
"""Bytes that a server's memory may still grow after the first fifth of the time: the allocator's own."""


@dataclass
class Account:
    """What the server says of itself."""

    resident: int = 0
    wrong: int = 0
    applied: int = 0
    peers: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def serve(pipe: Connection, keys: str) -> None:
    """A request is answered with an account."""
    keep_freed_memory()
    server = Attacked(keys, config_of(SPANS), space_of(PARAMETERS, SPANS))
    pipe.send(server.record)
    while True:
        if pipe.poll(0):
            pipe.recv()
            visitors = server.post._visitors
            peers = len(visitors.links()) if visitors is not None else 0
            pipe.send(Account(resident(), server.wrong(), server.applied, peers, server.refused))
        server.step()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def attack(pipe: Connection, record: TermRecord, identity: str, keys: str, seed: int) -> None:
    """Until killed; a request is answered with how many frames were sent."""
    space = space_of(PARAMETERS, SPANS)
    held = load_keys(keys, "worker") if keys else None
    peer = Hostile(record.servers[0].address, identity, space, seed, held)
    pipe.send("ready")
    while True:
        peer.act()
        if pipe.poll(0):
            pipe.recv()
            pipe.send(peer.said)


def rubbish(pipe: Connection, record: TermRecord, seed: int) -> None:
    """Bytes that are not even ZeroMQ's; connections that are begun and left open."""
    draw, port = random.Random(seed), int(record.servers[0].address.rpartition(":")[2])
    open_ones: list[socket.socket] = []
    sent = 0
    pipe.send("ready")
    while True:
        try:
            one = socket.create_connection(("127.0.0.1", port), 5)
            one.settimeout(5)
            greeting = b"\xff\0\0\0\0\0\0\0\1\x7f\3\1CURVE" if draw.random() < 0.5 else b""
            one.sendall(greeting + draw.randbytes(draw.randrange(1, 5000)))
            open_ones.append(one)
            sent += 1
        except OSError:
            pass
        while len(open_ones) > 20:
            open_ones.pop(draw.randrange(len(open_ones))).close()
        if pipe.poll(0.01):
            pipe.recv()
            pipe.send(sent)


def honest(pipe: Connection, record: TermRecord, keys: str) -> None:
    """Pulls and pushes until killed; a request is answered with how many ranges it has done."""
    space = space_of(PARAMETERS, SPANS)
    worker = BenchWorker(0, keys, config_of(SPANS), record, space)
    difference = worker.machine.x + 1
    done = 0
    pipe.send("ready")
    while True:
        worker.pull()
        worker.push(difference.copy())
        done += 1
        if pipe.poll(0):
            pipe.recv()
            pipe.send(done)


def main() -> None:
    where = machine()
    with tempfile.TemporaryDirectory(prefix="dsj-fuzz-") as root:
        keys = str(Path(root) / "keys")
        make_job_keys(keys)
        server = Remote(serve, keys)
        record = server.answer()
        peers = {
            "insider 1": Remote(attack, record, "worker-6-6", keys, SEED),
            "insider 2": Remote(attack, record, "worker-7-0", keys, SEED + 1),
            "stranger": Remote(attack, record, "worker-8-0", "", SEED + 2),
            "rubbish": Remote(rubbish, record, SEED + 3),
            "honest ranges": Remote(honest, record, keys),
        }
        try:
            for one in peers.values():
                one.answer()
            began = time.monotonic()
            early = later = account(server)
            while (passed := time.monotonic() - began) < SECONDS:
                threading.Event().wait(min(10.0, SECONDS / 10))
                later = account(server)
                if passed < SECONDS / 5:
                    early = later
                print(
                    f"{passed:.0f} s, {later.resident >> 20} MiB, {later.applied} applied", file=sys.stderr, flush=True
                )
            sent = {name: int(one.ask("count")) for name, one in peers.items()}
            later = account(server)
            alive = server.process.is_alive()
        finally:
            for one in [*peers.values(), server]:
                one.close()
    case = f"{SECONDS:g} s"
    growth = later.resident - early.resident
    done = sent.pop("honest ranges")
    rows = [
        Row(case, "frames sent", sum(sent.values()), "", "said", True),
        Row(case, "frames and messages refused", later.refused.total(), "", "> 0", later.refused.total() > 0),
        Row(case, "crashes of the server", 0 if alive else 1, "", "0", alive),
        Row(case, "growth of its memory since the first fifth", growth / 2**20, "MiB", "< 32", growth < GROWTH),
        Row(case, "weights that are not what was pushed", later.wrong, "", "0", later.wrong == 0),
        Row(case, "parts of pushes applied, fuzzed ones that are whole too", later.applied, "", "said", True),
        Row(case, "ranges that the honest worker has done meanwhile", done, "", "> 0", done > 0),
        Row(case, "connections that are known at the end", later.peers, "", "<= 24", later.peers <= 24),
    ]
    reasons = ", ".join(f"{reason} {count}" for reason, count in later.refused.most_common())
    publish("fuzz", rows, where, [f"seed {SEED}; sent: {sent}", f"refused: {reasons}"])


def account(server: Remote) -> Account:
    told = server.ask("account")
    assert isinstance(told, Account)
    return told


if __name__ == "__main__":
    main()
