"""Exit codes of a member and what they mean for its replacement (sysexits.h where it has a word for it)."""

from typing import Final

OK: Final = 0
CRASHED: Final = 1
"""An error that a fresh process may survive: retried."""
USAGE: Final = 64
USER_CODE: Final = 65
"""The user's code or data is wrong (it raised in its first range, data sets differ ...): not retried."""
MISSING_INPUT: Final = 66
"""A module, data set or checkpoint that the job names does not exist: not retried."""
CONFIG: Final = 78
"""The config document cannot be used by this runtime: not retried."""

USERS_MISTAKE: Final = frozenset({USAGE, USER_CODE, MISSING_INPUT, CONFIG})
"""Not retried: the job fails with the member's message."""


def is_users_mistake(code: int | None) -> bool:
    """Whether a member that exited so will exit so again. `None` (killed, no exit seen) is not."""
    return code in USERS_MISTAKE
