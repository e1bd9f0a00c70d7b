"""Numbers as people read them: sizes, times, ages, factors, and a curve in one line of text."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Final

BARS: Final = "▁▂▃▄▅▆▇█"
ASCII_BARS: Final = "_.,-=+*#"
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Bytes in powers of 1000, three digits: 3.1 MB."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{int(count)} B" if unit == 0 else f"{digits(value)} {_UNITS[unit]}"


def digits(value: float) -> str:
    """Three digits that count; whole numbers from 100 on: 0.0132, 1.83, 25.1, 812."""
    if not isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if abs(value) >= 99.95:
        return f"{value:.0f}"
    if abs(value) < 1e-4:
        return f"{value:.2e}"
    return f"{value:.3g}" if abs(value) < 0.9995 else f"{value:.2f}" if abs(value) < 9.995 else f"{value:.1f}"


def metric(value: float) -> str:
    """An evaluation's figure: four digits that count."""
    return f"{value:.4g}"


def factor(value: float) -> str:
    """How many times: 83.4x, 10.2x, 8x."""
    return f"{value:.0f}x" if value >= 99.95 or abs(value - round(value)) < 0.005 else f"{digits(value)}x"


def clock(seconds: float) -> str:
    """A length of time: 0:11, 12:05, 3:00:59."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def age(seconds: float) -> str:
    """As kubectl writes it, in one unit or two: 42s, 6m, 3h12m, 2d."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 8 * 3600:
        return f"{whole // 3600}h{whole // 60 % 60}m" if whole // 60 % 60 else f"{whole // 3600}h"
    return f"{whole // 3600}h" if whole < 48 * 3600 else f"{whole // 86400}d"


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def seconds_of(stamp: str) -> float | None:
    """Seconds since the Unix epoch of a time in a status; None when it is empty or none."""
    try:
        return datetime.fromisoformat(stamp).timestamp() if stamp else None
    except ValueError:
        return None


def iso(seconds: float) -> str:
    """UTC, whole seconds: 2026-11-24T15:04:33Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sparkline(values: Sequence[float], width: int, bars: str = BARS) -> str:
    """The curve of `values` in at most `width` characters, each the mean of its part; lowest to highest."""
    finite = [value for value in values if isfinite(value)]
    if not finite or width < 1:
        return ""
    places = min(width, len(finite))
    means = []
    for place in range(places):
        part = finite[len(finite) * place // places : len(finite) * (place + 1) // places]
        means.append(sum(part) / len(part))
    low, high = min(means), max(means)
    span = high - low
    return "".join(bars[int((mean - low) / span * (len(bars) - 1) + 0.5)] if span > 0 else bars[0] for mean in means)


def indices(numbers: Sequence[int]) -> str:
    """0-3,5: a sorted run of numbers, short."""
    parts: list[str] = []
    for number in sorted(numbers):
        first, _, last = parts[-1].partition("-") if parts else ("", "", "")
        if parts and number == int(last or first) + 1:
            parts[-1] = f"{first}-{number}"
        else:
            parts.append(str(number))
    return ",".join(parts)


def one_line(text: str) -> str:
    """Line ends, carriage returns and other control characters of messages never reach a log."""
    return "".join(letter if letter.isprintable() else " " for letter in text).rstrip()
