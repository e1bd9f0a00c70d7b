"""One real job under real faults in `make test`; `make bench-exactly-once` does a dozen, longer ones."""

from pathlib import Path

import pytest

from chaos.run import run

KINDS = ["kill-worker", "cut-link", "kill-server", "kill-etcd", "scale-workers", "kill-in-checkpoint"]


@pytest.mark.timeout(280)
def test_each_sample_counts_once_whoever_is_killed(tmp_path: Path) -> None:
    outcome = run(77, "topk", KINDS, tmp_path, steps=4_000)
    assert outcome.violations == []
    assert outcome.kinds == KINDS
