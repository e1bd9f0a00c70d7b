"""Server 5: what was applied is told to the chief, and told again until the chief says that it has it."""

from deepseek_runtime.protocol.server_orders import AppliedReport


class Reports:
    """Those of one server that its chief has not acknowledged. Numbers go on through all terms."""

    def __init__(self, resend: float) -> None:
        self._resend = resend
        self._told: dict[int, tuple[float, AppliedReport]] = {}
        self._number = 0

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def told(self, report: AppliedReport, now: float) -> None:
        self._told[report.number] = (now, report)

    def taken(self, number: int) -> None:
        self._told.pop(number, None)

    def forget(self) -> None:
        """A new term's chief learns from the applied sets."""
        self._told.clear()

    def due(self, now: float) -> list[AppliedReport]:
        """Those to be told again, now."""
        again = [report for sent, report in self._told.values() if now - sent >= self._resend]
        for report in again:
            self.told(report, now)
        return again
