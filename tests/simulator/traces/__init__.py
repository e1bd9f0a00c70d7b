"""The traces of protocol.md, each a script that fails when its rule is left out. Named by their numbers."""

from collections.abc import Callable

from simulator.traces import answers, backup, checkpoints, ending, reshard, terms

TRACES: dict[str, Callable[[], None]] = {
    trace.__name__.removeprefix("trace_"): trace
    for part in (answers, terms, checkpoints, ending, backup, reshard)
    for trace in part.TRACES
}
