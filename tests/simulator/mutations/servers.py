"""A server that breaks a rule."""

from typing import Any

from deepseek_runtime.protocol.receiving import Receiving
from deepseek_runtime.protocol.reporting import Reports
from deepseek_runtime.protocol.serving import Server
from deepseek_runtime.protocol.span import Span
from simulator.mutations.mutation import Mutation, always, static


def _publishes_late(original: Any) -> Any:
    def publish(self: Span) -> None:
        if self.ordinal % 2 == 0:
            original(self)

    return publish


def _skip_not_applied(original: Any) -> Any:
    def skip(self: Span, g: int) -> None:
        self.skipped.add(g)

    return skip


def _residuals_after_close(original: Any) -> Any:
    def judge(self: Span, push: Any, current: bool) -> Any:
        return "applied" if push.lease is None else original(self, push, current)

    return judge


def _any_term(original: Any) -> Any:
    return lambda self, push: push.lease is None or push.lease.number not in self._ended


def _not_placed(original: Any) -> Any:
    return lambda self, span: None


MUTATIONS = {
    "a repeated push is judged anew": Mutation("Server 1 (1)", Span, "remembered", always(None)),
    "a range that is in is applied again": Mutation("Server 1", Span, "has", always(False)),
    "an ended lease is current": Mutation("Server 1 (4)", Server, "is_current", always(True)),
    "a skip leaves the applied set alone": Mutation("Server 4 (5)", Span, "skip", _skip_not_applied),
    "a lease of an older term is current": Mutation("Server 1 (4)", Server, "is_current", _any_term),
    "the dense publish is sparse": Mutation("End (18)", Span, "publish_dense", lambda original: Span.publish),
    "a server follows a lower term": Mutation(
        "Terms 1 (9)", Server, "follows", lambda original: lambda self, record: record.number != self.number
    ),
    "a server keeps an older naming": Mutation("Terms 7 (17)", Receiving, "newer_naming", static(False)),
    "branches are mixed": Mutation("Words: branch (6)", Server, "same_branch", static(True)),
    "a continued term has not placed its spans": Mutation("Words: holding (8)", Server, "place", _not_placed),
    "published only now and then": Mutation("Server 3 (14)", Span, "publish", _publishes_late),
    "a range is reported once": Mutation("Server 5 (16)", Reports, "due", always(())),
    "namings are mixed by servers": Mutation("Terms 7 (17)", Receiving, "same_naming", static(True)),
    "residuals after the dense publish": Mutation("End (18)", Span, "judge", _residuals_after_close),
}
