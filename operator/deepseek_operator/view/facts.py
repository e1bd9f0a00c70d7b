"""The rows that all views share: a label and what stands behind it; a row of which nothing is known is left out."""

from collections.abc import Iterator
from typing import NamedTuple

from deepseek_operator.api.status import JobEvent, Recovery
from deepseek_operator.view.amounts import age, clock, count, digits, factor, metric, one_line, size
from deepseek_operator.view.snapshot import Snapshot


class Row(NamedTuple):
    label: str
    text: str


def step(shot: Snapshot) -> str:
    """1200/5000"""
    return f"{shot.step}/{shot.goal}" if shot.goal is not None else f"{shot.step}"


def percent(shot: Snapshot) -> str:
    return f"{shot.fraction:.1%}" if shot.fraction is not None else ""


def evaluation(shot: Snapshot) -> Iterator[Row]:
    progress = shot.progress
    if progress is not None and progress.metrics:
        figures = "  ".join(f"{name} {metric(value)}" for name, value in sorted(progress.metrics.items()))
        at = f"  (step {progress.metrics_step})" if progress.metrics_step is not None else ""
        yield Row("eval", f"{figures}{at}")


def speed(shot: Snapshot) -> Iterator[Row]:
    progress = shot.progress
    if progress is None or shot.over:
        return
    parts = [f"{digits(progress.samples_per_second)} samples/s"]
    if progress.ranges_done:
        parts.append(f"staleness p50 {progress.staleness_p50:g} p95 {progress.staleness_p95:g}")
    if progress.loss_scale is not None:
        parts.append(f"loss scale {digits(progress.loss_scale)}")
    if progress.samples_skipped:
        parts.append(f"{progress.samples_skipped} skipped")
    yield Row("rate", "   ".join(parts))


_GUARDED = {
    "precise": "full precision",
    "held": "full precision, updates held back",
    "slow": "smaller steps",
    "back": "asking for a roll-back",
}


def guard(shot: Snapshot) -> Iterator[Row]:
    """What loss calibration does, or has done."""
    state = shot.progress.guard if shot.progress is not None else None
    if state is None or not (state.anomalies or state.held or state.roll_backs):
        return
    parts = [_GUARDED[state.step]] if state.step in _GUARDED else []
    if state.anomalies:
        parts.append(f"{state.anomalies} implausible ranges")
    if state.learning_rate_factor != 1.0:
        parts.append(f"learning rate x {state.learning_rate_factor:g}")
    if state.held:
        parts.append(f"{state.held} held back in all")
    if state.roll_backs:
        parts.append(f"{state.roll_backs} rolled back")
    yield Row("guard", "   ".join(parts))


def wire(shot: Snapshot) -> Iterator[Row]:
    progress, ratio = shot.progress, shot.ratio
    if progress is None or not progress.wire_bytes:
        return
    if ratio is None:
        yield Row("wire", size(progress.wire_bytes))
        return
    fewer = f"{factor(ratio.whole)} fewer" if ratio.whole >= 1 else f"{factor(1 / ratio.whole)} more"
    parts = f"local steps {factor(ratio.local_steps)}, compression {factor(ratio.compression)}"
    yield Row("wire", f"{size(progress.wire_bytes)}, dense {size(progress.dense_bytes)}: {fewer} ({parts})")


def checkpoint(shot: Snapshot) -> Iterator[Row]:
    progress = shot.progress
    if progress is None:
        return
    if progress.checkpoint is None:
        yield Row("saved", "no checkpoint yet")
        return
    since = f", {age(shot.now - progress.checkpoint_time)} ago" if progress.checkpoint_time is not None else ""
    yield Row("saved", f"step {progress.checkpoint.step}{since}")


def still(shot: Snapshot) -> float | None:
    """Seconds since the last range was done; None before the first."""
    last = shot.progress.last_range_time if shot.progress is not None else None
    return None if last is None else max(0.0, shot.now - last)


def losses(shot: Snapshot) -> Iterator[Row]:
    """What never comes back, shown as soon as there is any."""
    progress = shot.progress
    if progress is None:
        return
    parts = [
        f"{count(number, 'sample')} {word}"
        for number, word in (
            (progress.samples_lost, "lost"),
            (progress.samples_repeated, "repeated"),
            (progress.samples_rolled_back, "rolled back"),
        )
        if number
    ]
    if progress.residual_lost:
        parts.append(f"residual {digits(progress.residual_lost)} lost of {digits(progress.pushed)} pushed")
    if parts:
        yield Row("lost", ", ".join(parts))


def roles(shot: Snapshot) -> str:
    """servers 2/2 workers 3/3"""
    status = shot.status
    servers, workers = status.servers, status.workers
    return f"servers {servers.ready}/{servers.desired} workers {workers.ready}/{workers.desired}"


def recovery(one: Recovery) -> str:
    who = "etcd" if one.role == "etcd" else f"{one.role} {one.index}"
    parts = [f"{who} lost at step {one.at_step}"]
    if one.cause:
        parts[0] += f" ({one.cause})"
    parts.append(f"at work again after {one.seconds:.1f} s" if one.seconds is not None else "not back yet")
    if one.longest_gap is not None:
        parts.append(f"longest gap {one.longest_gap:.1f} s")
    if one.restored_step is not None:
        parts.append(f"all went back to step {one.restored_step}")
    return one_line(", ".join(parts))


def event(one: JobEvent) -> str:
    """Without its time: reason, message, how often."""
    times = f" (x{one.count})" if one.count > 1 else ""
    return one_line(f"{one.reason}  {one.message}{times}")


def elapsed(shot: Snapshot) -> str:
    return clock(shot.took) if shot.took is not None else ""
