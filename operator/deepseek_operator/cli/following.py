"""Following a job until it ends or its view is left: looks at it, shows it, passes on what is asked for."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from deepseek_operator.cli.errors import STOPPED
from deepseek_operator.cli.keys import Keys
from deepseek_operator.cli.signals import Asks
from deepseek_operator.cli.viewers import Screen, Viewer
from deepseek_operator.place import Job, Measured, Patience, Unreadable
from deepseek_operator.view.snapshot import Snapshot
from deepseek_runtime.contract.exit_codes import CRASHED, OK


@dataclass(frozen=True, slots=True)
class Followed:
    last: Snapshot
    left: bool
    """The view was left, the job runs on."""


def follow(
    job: Job,
    view: Viewer,
    asks: Asks,
    asked: Callable[[int], str | None],
    hint: str = "",
    until: Callable[[Snapshot], bool] = lambda shot: False,
) -> Followed:
    """Shows the job until nobody runs it any more.

    asked: called with how often Ctrl-C or SIGTERM came, each time; what to show of it, or None: leave the view.
    until: ends the view before. Raises Unreadable when it is so for longer
    than the job's `patience`.
    """
    measured, process = job.measured(), job.runner()
    notice, heard, patience = "", 0, Patience(job.patience)
    try:
        with Keys() if isinstance(view, Screen) else Nobody() as keys, view:
            while True:
                if asks.count > heard:
                    heard = asks.count
                    said = asked(heard)
                    if said is None:
                        return Followed(job.look(), True)
                    notice = said
                try:
                    shot = _seen(job, measured, notice)
                    patience.renew()
                except Unreadable:
                    if not patience.lasts():
                        raise
                    asks.wait(job.tick)
                    continue
                if not shot.attended or until(shot):
                    shot = replace(shot, notice="")
                    view.last(shot)
                    return Followed(shot, False)
                view.show(shot, hint)
                handles = [
                    handle for handle in (process.handle if process else None, keys.handle) if handle is not None
                ]
                ready = asks.wait(job.tick, handles)
                if keys.handle in ready and keys.left():
                    return Followed(shot, True)
                if process is not None and process.handle in ready:
                    # Its end is seen; alive() follows at once, since it goes by the same process.
                    process.close()
                    process = None
    finally:
        if process is not None:
            process.close()


def _seen(job: Job, measured: Measured, notice: str) -> Snapshot:
    shot = job.look()
    measured.read()
    measured.saw(shot)
    return replace(shot, losses=tuple(measured.losses), rates=measured.rates(shot.now), notice=notice)


class Nobody:
    """No keyboard."""

    handle: int | None = None

    def __enter__(self) -> "Nobody":
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        return None

    def left(self) -> bool:
        return False


def code_of(shot: Snapshot) -> int:
    """The exit code of a command that followed a job to where it is now."""
    if shot.over:
        code = shot.status.exit_code
        return code if code is not None else CRASHED
    if shot.suspended:
        return STOPPED
    return OK if shot.attended else CRASHED
