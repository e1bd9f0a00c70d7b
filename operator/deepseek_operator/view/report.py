"""`dsj jobs` and `dsj status`: a table of all jobs, and one job in blocks."""

from collections.abc import Iterator, Sequence

from deepseek_operator.view import facts, members
from deepseek_operator.view.amounts import age, digits, iso, one_line, seconds_of
from deepseek_operator.view.sentence import failure_words, message
from deepseek_operator.view.snapshot import ASCII_SIGNS, SIGNS, Snapshot
from deepseek_operator.view.summary import checkpoint_folder

COLUMNS = ("NAME", "PHASE", "STEP", "LOSS", "RATE", "SERVERS", "WORKERS", "CHECKPOINT", "RESTARTS", "AGE")
_EVENTS = 5


def jobs_table(shots: Sequence[Snapshot]) -> list[str]:
    """With a column for the namespace where there are several."""
    rows = [COLUMNS, *(_cells(shot) for shot in shots)]
    if len({shot.namespace for shot in shots}) > 1:
        return aligned(
            [(first, *row) for first, row in zip(["NAMESPACE", *(s.namespace for s in shots)], rows, strict=True)]
        )
    return aligned(rows)


def _cells(shot: Snapshot) -> tuple[str, ...]:
    status, progress = shot.status, shot.progress
    begun = seconds_of(status.started)
    saved = progress.checkpoint_time if progress is not None else None
    dead = shot.abandoned and not shot.members_live
    moves = progress is not None and not (shot.over or shot.suspended or shot.abandoned)
    return (
        shot.name,
        shot.phase,
        facts.step(shot),
        digits(progress.loss) if progress is not None and progress.loss is not None else "-",
        digits(progress.samples_per_second) if progress is not None and moves else "-",
        f"{0 if dead else status.servers.ready}/{status.servers.desired}",
        f"{0 if dead else status.workers.ready}/{status.workers.desired}",
        age(shot.now - saved) if saved is not None else "-",
        str(status.restarts_total),
        age(shot.now - begun) if begun is not None else "-",
    )


def job_report(shot: Snapshot, *, unicode: bool = True) -> list[str]:
    """Blocks, the most asked for first."""
    sign = (SIGNS if unicode else ASCII_SIGNS).get(shot.phase, "?")
    lines = [f"{shot.name}  {sign} {shot.phase}" + (f": {message(shot)}" if message(shot) else "")]
    rows = list(_summary(shot))
    width = max(len(row.label) for row in rows)
    lines += [f"  {row.label:<{width}}  {row.text}" for row in rows]
    if shot.status.members:
        lines += ["", f"Members ({facts.roles(shot)})"]
        lines += [f"  {line}" for line in members.table(members.rows(shot.status.members, shot.rates, 64))]
    if shot.status.conditions:
        lines += ["", "Conditions"]
        lines += [f"  {line}" for line in aligned(list(_conditions(shot)))]
    if shot.status.last_failure is not None:
        failure = shot.status.last_failure
        lines += ["", "Last failure", f"  {failure.time}  {failure_words(failure)}"]
    if shot.status.recoveries:
        lines += ["", "Recoveries", *(f"  {facts.recovery(one)}" for one in shot.status.recoveries)]
    if shot.status.events:
        lines += ["", "Events"]
        lines += [f"  {line}" for line in events_table(shot, _EVENTS)]
    return lines


def _summary(shot: Snapshot) -> Iterator[facts.Row]:
    status = shot.status
    if shot.job is not None:
        training = shot.job.spec.training
        yield facts.Row("task", training.task or training.script or "")
    if status.started:
        begun = seconds_of(status.started)
        yield facts.Row("started", f"{status.started}" + (f" ({age(shot.now - begun)} ago)" if begun else ""))
    if status.finished:
        yield facts.Row("finished", f"{status.finished}, exit code {status.exit_code}")
    yield facts.Row("step", f"{facts.step(shot)} {facts.percent(shot)}".rstrip())
    if shot.progress is not None and shot.progress.loss is not None:
        yield facts.Row("loss", digits(shot.progress.loss))
    for rows in (facts.evaluation, facts.speed, facts.guard, facts.wire, facts.checkpoint, facts.losses):
        yield from rows(shot)
    yield facts.Row("term", str(status.term.number))
    yield facts.Row("restarts", f"{status.restarts} against the limit, {status.restarts_total} in all")
    yield facts.Row("checkpoints", checkpoint_folder(shot))
    yield facts.Row("namespace", shot.namespace) if shot.namespace else facts.Row("folder", shot.folder)


def _conditions(shot: Snapshot) -> Iterator[tuple[str, ...]]:
    yield ("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE")
    for one in shot.status.conditions:
        since = seconds_of(one.last_transition_time)
        yield (one.type, one.status, one.reason, age(shot.now - since) if since is not None else "-", one.message)


def events_table(shot: Snapshot, newest: int | None = None) -> list[str]:
    """With its header: time, type, reason, message and how often."""
    events = shot.status.events[-newest:] if newest is not None else shot.status.events
    rows = [("TIME", "TYPE", "REASON", "MESSAGE")]
    for one in events:
        at = seconds_of(one.time)
        times = f" (x{one.count})" if one.count > 1 else ""
        rows.append((iso(at) if at is not None else one.time, one.type, one.reason, one_line(one.message + times)))
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns three spaces apart; the last one as long as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["   ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
