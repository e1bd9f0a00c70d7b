"""A worker: user code on the main thread, the protocol (protocol/pusher.py) and its sockets on the I/O thread.

    python -m deepseek_runtime.worker      (identity and config from the environment: contract/names.py)

The two threads share nothing but two queues: what the machine wants of the user's thread, and what came of it.
"""

import atexit
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from deepseek_runtime.contract import exit_codes
from deepseek_runtime.contract.records import Registration
from deepseek_runtime.edge.job_feed import JobFeed
from deepseek_runtime.edge.process import Exit, Identity, identity, leave, start_logging
from deepseek_runtime.feed import JobRefused
from deepseek_runtime.transport.allocator import keep_freed_memory

logger = logging.getLogger("deepseek_runtime.worker")


def train(who: Identity) -> Exit:
    """Runs the job's task or script to its end. Raises Exit for what goes wrong."""

    feed = JobFeed(who, crashed=lambda exit: os._exit(leave(who, exit)))

    def drain(number: int, frame: FrameType | None) -> None:
        feed.drain()

    signal.signal(signal.SIGTERM, drain)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    feed.start(Registration(incarnation=who.me.incarnation, state="starting"))
    try:
        return _run_user_code(who, feed)
    finally:
        feed.shut_down()


def _run_user_code(who: Identity, feed: JobFeed) -> Exit:
    from deepseek_runtime.script import run_script
    from deepseek_runtime.session import SessionError
    from deepseek_runtime.tasks.task import load_task, run_task
    from deepseek_runtime.user_errors import describe_user_error

    training = who.config.training
    files: list[Path] = []
    if training.code:
        sys.path.insert(0, training.code)
        files = sorted(Path(training.code).rglob("*.py"))
    try:
        if training.task is not None:
            run_task(load_task(training.task, training.args), feed)
        else:
            run_script(_script(training.code, training.script or ""), training.args, feed)
    except JobRefused as error:
        raise Exit(error.code, error.reason, str(error)) from error
    except SessionError as error:
        raise Exit(exit_codes.USER_CODE, "SessionMisused", str(error)) from error
    except Exit:
        raise
    except SystemExit as error:
        if error.code not in (None, 0):
            raise _fault(feed, f"the script called exit({error.code!r})") from error
    except (Exception, KeyboardInterrupt) as error:
        if feed.leaving:
            logger.exception("user code failed while the worker was leaving")
            return Exit(exit_codes.OK, "Drained")
        raise _fault(feed, describe_user_error(error, files), retried=_out_of_memory(error)) from error
    if feed.ended == "finished":
        return Exit(exit_codes.OK, "Finished")
    if feed.ended == "drained":
        return Exit(exit_codes.OK, "Drained")
    text = "the script ended while the job still had ranges: loop over the session until it ends by itself"
    raise Exit(exit_codes.USER_CODE, "LoopLeft", text)


def _out_of_memory(error: BaseException) -> bool:
    import torch

    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError)


def _fault(feed: JobFeed, text: str, retried: bool = False) -> Exit:
    """The user's mistake when it comes in the member's first range; else a fresh process may survive it."""
    first = feed.trained == 0
    code = exit_codes.USER_CODE if first and not retried else exit_codes.CRASHED
    return Exit(code, "UserCodeRaised", text, range=feed.range, first=first)


def _script(folder: str | None, script: str) -> str:
    return str(Path(folder) / script) if folder else script


def main() -> int:
    who: Identity | None = None
    try:
        keep_freed_memory()
        who = identity("worker")
        start_logging(who)
        return leave(who, train(who))
    except Exit as exit:
        return leave(who, exit)
    except Exception as error:
        logging.getLogger("deepseek_runtime").exception("the worker crashed")
        return leave(who, Exit(exit_codes.CRASHED, "WorkerCrashed", f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    code = main()
    # What user code registered still runs (trackers); taking torch apart, and threads that it left, would only delay.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
