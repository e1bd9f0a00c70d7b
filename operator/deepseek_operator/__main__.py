"""The operator in a cluster: `python -m deepseek_operator` (`--help` lists its options).

Every replica watches; the one that holds the Lease acts. SIGTERM or SIGINT: rounds under way end, the Lease is given
back. A replica that loses the Lease ends with exit code 1, and is started again as one that waits.
"""

import logging
import signal
import sys
import threading
from collections.abc import Sequence

from deepseek_operator.kube import NoCluster, find_cluster
from deepseek_operator.logs import start_logging
from deepseek_operator.operating import CannotOperate, Operator
from deepseek_operator.settings import SettingsError, read_settings
from deepseek_runtime.contract.exit_codes import CONFIG, CRASHED, OK

logger = logging.getLogger("deepseek_operator")


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        settings = read_settings(sys.argv[1:] if arguments is None else arguments)
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        return CONFIG
    start_logging(settings.log, settings.log_level)
    over = threading.Event()
    reasons: list[str] = []

    def end(why: str) -> None:
        reasons.append(why)
        over.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    try:
        operator = Operator(settings, find_cluster, end)
        operator.start()
    except (NoCluster, CannotOperate) as error:
        logger.error("%s", error)
        return CONFIG if isinstance(error, NoCluster) else CRASHED
    over.wait()
    for why in reasons:
        logger.error("ends: %s", why)
    operator.stop()
    return CRASHED if reasons else OK


if __name__ == "__main__":
    sys.exit(main())
