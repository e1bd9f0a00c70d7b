"""The audit of a finished job, by its chief, where servers keep their journals in the store."""

import logging

from deepseek_runtime.audit import CannotCount, audit
from deepseek_runtime.checkpoint.store import Store, StoreError
from deepseek_runtime.contract.config import JobConfig

logger = logging.getLogger(__name__)


def counted(config: JobConfig, store: Store) -> dict[str, float]:
    """Fields of Progress. Raises StoreError."""
    try:
        found = audit(config, store=store)
    except CannotCount as error:
        raise StoreError("failed", str(error)) from error
    for problem in found.problems:
        logger.warning("the count of samples is unsure: %s", problem)
    return {
        "samples_counted": True,
        "samples_lost": found.samples_lost,
        "samples_repeated": found.samples_repeated,
        "samples_rolled_back": found.samples_rolled_back,
        "samples_skipped": found.samples_skipped,
        "residual_lost": found.residual_lost,
        "pushed": found.pushed,
    }
