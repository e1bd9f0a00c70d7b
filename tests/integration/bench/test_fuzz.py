"""The attack of `make bench-fuzz`, for a moment: nothing breaks, no weight is wrong, an honest worker is served."""

import threading
from pathlib import Path

import numpy as np

from bench._attacked import Attacked
from bench._members import BenchWorker, config_of, space_of
from builders.hostile import Hostile
from deepseek_runtime.transport import load_keys, make_job_keys

SPACE = space_of(16 * 4096, 8)


def test_a_server_under_attack(tmp_path: Path) -> None:
    make_job_keys(tmp_path / "keys")
    keys = str(tmp_path / "keys")
    server = Attacked(keys, config_of(8), SPACE)
    insider = Hostile(server.address, "worker-6-6", SPACE, 1, load_keys(keys, "worker"))
    stranger = Hostile(server.address, "worker-7-0", SPACE, 2)
    for turn in range(300):
        insider.act()
        if turn % 10 == 0:
            stranger.act()
        server.step()
    done = threading.Event()

    def work() -> None:
        worker = BenchWorker(0, keys, config_of(8), server.record, SPACE)
        worker.pull()
        worker.push(np.ones(SPACE.size, np.float32))
        worker.post.close(0.1)
        done.set()

    honest = threading.Thread(target=work, daemon=True)
    honest.start()
    while honest.is_alive():
        server.step()
    insider.close()
    stranger.close()
    server.post.close(0.1)
    assert done.is_set()
    assert server.applied > 8
    assert server.wrong() == 0
    assert {"message", "speaker", "head", "frame", "sequence", "PushRefused"} <= set(server.refused)
