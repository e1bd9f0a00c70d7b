"""Which runs: those of the table, those by which the settings were found, and a tiny one of each kind."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bench._lm.groups import Group
from bench._lm.runs import Lane
from bench._lm.servers import Outer

LONG: Final = 14_656
"""Batches of 16 windows of 256 bytes: 60.0 M tokens."""
SHORT: Final = 4_896
"""20.1 M tokens."""
SEEDS: Final = (1, 2, 3, 4, 5)
OTHER: Final = 101
"""The seed that settings were searched with."""


def search_plan() -> list[Group]:
    """At 20 M tokens, one seed."""
    base = Lane(seed=OTHER, lr=2e-3, warmup=800)
    rates = (1e-3, 1.5e-3, 2e-3, 3e-3, 4e-3, 6e-3)
    longer = replace(base, warmup=1600)
    return [
        Group("local 8: rates", "local", SHORT, [replace(base, lr=lr) for lr in rates]),
        Group("synchronous: rates", "synchronous", SHORT, [replace(base, lr=lr) for lr in rates]),
        Group(
            "local 8: others",
            "local",
            SHORT,
            [
                replace(base, publish_every=2),
                replace(base, publish_every=4),
                replace(base, warmup=1600),
                replace(base, beta1=0.85),
                replace(base, beta2=0.95),
                replace(base, ratio_down=0.1, publish_every=2),
            ],
        ),
        Group(
            "local 4",
            "local",
            SHORT,
            [
                base,
                replace(base, publish_every=2),
                replace(base, publish_every=4),
                replace(base, publish_every=4, ratio_down=0.1),
                replace(base, lr=3e-3, publish_every=2),
                replace(base, ratio_up=0.025, ratio_down=0.05, publish_every=2),
            ],
            local_steps=4,
        ),
        Group(
            "gradient",
            "gradient",
            SHORT,
            [
                replace(base, lr=1e-3),
                replace(base, lr=1e-3, ahead_own=1.0),
                replace(base, lr=1e-3, ahead_own=2.0),
                replace(base, lr=1e-3, ahead=6.0),
                replace(base, lr=2e-3, ahead_own=1.0),
                replace(base, lr=2e-3, ahead_own=2.0),
            ],
        ),
        Group(
            "local 8: warm-up",
            "local",
            SHORT,
            [
                replace(base, warmup=2400),
                replace(base, warmup=1600, lr=3e-3),
                replace(base, warmup=2400, lr=3e-3),
                replace(base, warmup=3200, lr=3e-3),
                replace(longer, outer=Outer(eta=0.75)),
                replace(longer, ratio_up=0.1),
            ],
        ),
        Group(
            "local 4: densities",
            "local",
            SHORT,
            [
                longer,
                replace(longer, ratio_up=0.025, ratio_down=0.025),
                replace(longer, ratio_up=0.025, ratio_down=0.05, publish_every=2),
                replace(longer, ratio_up=0.02, ratio_down=0.04, publish_every=2),
                replace(longer, ratio_up=0.0125, ratio_down=0.025),
                replace(longer, ratio_up=0.025, ratio_down=0.05, publish_every=2, lr=3e-3, warmup=2400),
            ],
            local_steps=4,
        ),
        Group(
            "gradient: warm-up",
            "gradient",
            SHORT,
            [
                replace(longer, ahead_own=2.0),
                replace(longer, ahead_own=3.0),
                replace(longer, ahead=6.0),
                replace(longer, ahead=9.0),
                replace(longer, lr=3e-3, ahead_own=2.0),
                replace(longer, lr=3e-3, ahead_own=3.0),
            ],
        ),
        Group(
            "synchronous: warm-up",
            "synchronous",
            SHORT,
            [
                longer,
                replace(longer, lr=1.5e-3),
                replace(longer, lr=3e-3),
                replace(longer, lr=4e-3),
                replace(base, warmup=2400),
                replace(base, warmup=2400, lr=3e-3),
            ],
        ),
    ]


def main_plan() -> list[Group]:
    """In order of what matters most. Settings are those that the search found, on other seeds."""
    whole = Lane(seed=0, lr=2e-3, warmup=2400)
    part = Lane(seed=0, lr=3e-3, warmup=2400)
    worker = Lane(seed=0, lr=2.5e-3, warmup=4400)
    server = Lane(seed=0, lr=2e-3, warmup=2400)
    thrifty = replace(part, warmup=4400, ratio_up=0.024, ratio_down=0.048, publish_every=2)
    delayed = replace(part, outer=Outer(0.7, 0.5, 4))
    naive = replace(part, outer=Outer(0.7, 0.9, 1))
    eight = [*seeds(part, 2), *seeds(replace(delayed, outer=Outer(0.7, 0.5, 8)), 2), replace(naive, seed=1)]
    four = [*seeds(part, 2), *seeds(delayed, 2), replace(naive, seed=1)]
    return [
        Group("synchronous", "synchronous", LONG, seeds(whole)),
        Group("synchronous 20 M", "synchronous", SHORT, seeds(part)),
        Group("local", "local", LONG, seeds(worker)),
        Group("powersgd", "powersgd", LONG, seeds(whole)),
        Group(
            "gradient 20 M",
            "gradient",
            SHORT,
            [*seeds(replace(server, ahead=6.0), 3), *seeds(server, 2)],
        ),
        Group("local 4 steps", "local", LONG, seeds(thrifty), local_steps=4),
        Group("outer 8 20 M", "local", SHORT, eight, workers=8),
        Group("outer 4 20 M", "local", SHORT, four),
        Group("synchronous 8 20 M", "synchronous", SHORT, seeds(part, 2), workers=8),
        Group("powersgd after 10 %", "powersgd", LONG, seeds(whole), dense_steps=366),
    ]


def seeds(lane: Lane, count: int = len(SEEDS)) -> list[Lane]:
    return [replace(lane, seed=seed) for seed in SEEDS[:count]]


def quick_plan() -> list[Group]:
    """64 batches of each kind."""
    base = Lane(seed=1, lr=3e-3, warmup=8)
    lanes: Sequence[Lane] = [
        base,
        replace(base, seed=2, publish_every=2, outer=Outer(0.7, 0.5, 4)),
        replace(base, ratio_up=None, ratio_down=None),
    ]
    ahead = [base, replace(base, ahead_own=1.0)]
    return [
        Group("synchronous", "synchronous", 64, [base]),
        Group("powersgd", "powersgd", 64, [base], dense_steps=2),
        Group("local", "local", 64, lanes, local_steps=4),
        Group("gradient", "gradient", 64, ahead),
    ]
