"""What a call to the API server may raise. All are OSErrors, as a failed write to a state folder is.

ApiError
  Unreachable     no answer in time, or the server is busy or broken: try again
  Conflict        the object has changed, or is another one (uid, resourceVersion): read it, plan again
    Exists        an object of that name is there already
  NotFound        the object, or its namespace or kind, is not there
  Forbidden       our rights do not suffice, or the namespace is ending
  Invalid         the server refuses the object; the message is its own
  NotLeading      nothing was written: this replica does not lead (any more)
"""

import errno
from typing import Final

DEPOSED: Final = "another replica of deepseek-operator leads"
"""What the chart's admission policy (templates/fence.yaml) says to whoever the Lease does not name."""


class ApiError(OSError):
    """`strerror`, like `str`, is a message for people."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EIO, message)

    def __str__(self) -> str:
        return str(self.strerror)


class Unreachable(ApiError):
    """Transient; a write may have happened all the same."""


class Conflict(ApiError):
    pass


class Exists(Conflict):
    pass


class NotFound(ApiError):
    pass


class Forbidden(ApiError):
    pass


class Invalid(ApiError):
    pass


class NotLeading(ApiError):
    pass
