"""What every benchmark leaves: rows of ours, rivals and limit, as a table for people and as JSON for programs."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One case and metric. `goal` in words; `holds`: whether the goal is reached; `limit`: the physical one."""

    case: str
    metric: str
    ours: float
    unit: str
    goal: str
    holds: bool
    rival: dict[str, float] = field(default_factory=dict)
    limit: float | None = None


def machine() -> dict[str, Any]:
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "load_before": round(os.getloadavg()[1], 1),
    }


def publish(name: str, rows: Sequence[Row], where: dict[str, Any], notes: Sequence[str] = ()) -> None:
    """Prints the table and writes $BENCH_OUT (default build/bench/NAME.json). where: machine(), taken at the start."""
    out = Path(os.environ.get("BENCH_OUT") or f"build/bench/{name}.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": where, "rows": [asdict(row) for row in rows], "notes": list(notes)}
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    console = Console(width=int(os.environ.get("COLUMNS", "150")), highlight=False)
    table = Table(title=f"bench-{name}: {where['cpu']}, {where['cores']} cores, {where['date']}")
    for column in ("case", "metric", "ours", "rivals (ratio)", "limit (ratio)", "goal", "holds"):
        table.add_column(column)
    for row in rows:
        rivals = ", ".join(f"{rival} {value:,.4g}{_ratio(row.ours, value)}" for rival, value in row.rival.items())
        limit = "" if row.limit is None else f"{row.limit:,.4g}{_ratio(row.ours, row.limit)}"
        ours = f"{row.ours:,.5g} {row.unit}".strip()
        table.add_row(row.case, row.metric, ours, rivals, limit, row.goal, "yes" if row.holds else "NO")
    console.print(table)
    for note in notes:
        console.print(note)
    console.print(f"{sum(row.holds for row in rows)} of {len(rows)} rows hold; {out}")


def _ratio(ours: float, other: float) -> str:
    return f" ({ours / other:.3g}x)" if other else ""
