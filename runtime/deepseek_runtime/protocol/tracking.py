"""What the chief tells people: progress, losses, staleness, gaps. Kept apart from what decides anything."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deepseek_runtime.contract.names import Member
from deepseek_runtime.protocol.ledger import Outstanding


@dataclass(slots=True)
class _Server:
    wire_bytes: int = 0
    residuals: Mapping[str, float] = field(default_factory=dict)
    pushed: float = 0.0


@dataclass(slots=True)
class Tracking:
    """Times in seconds of the caller's clock."""

    metrics: dict[str, float] = field(default_factory=dict)
    metrics_step: int | None = None
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=50))
    rows: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=10_000))
    """One a push, for metrics.jsonl; the edge takes them."""
    last_done: float | None = None
    """The newest range of this term; None before its first: an open term alone is no work."""
    longest_gap: float = 0.0
    _since: float | None = None
    """The newest range, or the term's opening: where a gap begins."""
    _staleness: deque[int] = field(default_factory=lambda: deque(maxlen=500))
    _recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=200))
    _servers: dict[Member, _Server] = field(default_factory=dict)
    _scales: dict[str, float] = field(default_factory=dict)

    @property
    def loss_scale(self) -> float | None:
        """The lowest of all workers."""
        return min(self._scales.values(), default=None)

    def opened(self, now: float) -> None:
        self._since = now

    def server(self, server: Member, wire_bytes: int, residuals: Mapping[str, float], pushed: float) -> None:
        self._servers[server] = _Server(wire_bytes, residuals, pushed)

    def push(self, push: Mapping[str, Any], done: int, leases: Iterable[Outstanding], now: float) -> None:
        stamp = next((held.lease.stamp for held in leases if held.lease.g == push["g"]), None)
        row = dict(push)
        if stamp is not None:
            row["staleness"] = done - stamp
            self._staleness.append(done - stamp)
        if isinstance(push.get("loss"), float):
            self.losses.append(push["loss"])
        if push.get("loss_scale") is not None:
            self._scales[str(push["worker"])] = float(push["loss_scale"])
        self._recent.append((now, int(push["samples"])))
        self.rows.append(row)

    def done(self, now: float) -> None:
        if self._since is not None:
            self.longest_gap = max(self.longest_gap, now - self._since)
        self.last_done = self._since = now

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        self.metrics, self.metrics_step = metrics, step

    @property
    def loss(self) -> float | None:
        """Mean of the newest pushes."""
        return sum(self.losses) / len(self.losses) if self.losses else None

    def rate(self, now: float, window: float = 10.0) -> float:
        """Samples a second over the newest `window` seconds."""
        recent = [(at, samples) for at, samples in self._recent if now - at <= window]
        if len(recent) < 2:
            return 0.0
        return sum(samples for _, samples in recent[1:]) / max(1e-9, recent[-1][0] - recent[0][0])

    def staleness(self, quantile: float) -> float:
        ordered = sorted(self._staleness)
        return float(ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]) if ordered else 0.0

    @property
    def wire_bytes(self) -> int:
        return sum(server.wire_bytes for server in self._servers.values())

    def residual_lost(self, live: Iterable[Member]) -> float:
        """Sum of |e| of workers that are not alive, and of what was lost before."""
        alive = {str(worker) for worker in live}
        return sum(
            value
            for server in self._servers.values()
            for worker, value in server.residuals.items()
            if worker not in alive
        )

    @property
    def pushed(self) -> float:
        return sum(server.pushed for server in self._servers.values())
