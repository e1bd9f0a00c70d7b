"""What the exceptions of fsspec's many file systems mean. They are told apart by name: most are not installed."""

import errno
from collections.abc import Iterator
from typing import Final

from deepseek_runtime.checkpoint.store import Kind, StoreError

_KINDS: Final[dict[str, Kind]] = {
    "NoCredentialsError": "denied",
    "PartialCredentialsError": "denied",
    "CredentialRetrievalError": "denied",
    "ProfileNotFound": "denied",
    "GoogleAuthError": "denied",
    "PermissionError": "denied",
    "ForbiddenOperation": "denied",
    "InsufficientStorage": "full",
    "FileNotFoundError": "missing",
    "ResourceNotFound": "missing",
    "EndpointConnectionError": "unreachable",
    "HTTPClientError": "unreachable",
    "BadGatewayError": "unreachable",
    "ResourceLocked": "unreachable",
    "TransportError": "unreachable",
    "ClientConnectionError": "unreachable",
    "ServerTimeoutError": "unreachable",
    "ConnectionError": "unreachable",
    "TimeoutError": "unreachable",
    "gaierror": "unreachable",
}
_ERRNO: Final[dict[int, Kind]] = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "denied",
    errno.EBUSY: "unreachable",
    errno.ETIMEDOUT: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
}
_ADVICE: Final[dict[Kind, str]] = {
    "denied": "refused: check the credentials and what they may do there",
    "full": "no space or quota is left there; free some, or lower keep",
    "missing": "does not exist",
    "unreachable": "cannot be reached, or does not work",
}


def explained(error: Exception, where: str) -> StoreError:
    """The StoreError for an exception of a file system, about the URI `where`."""
    kind = _kind(error)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if kind is None:
        return StoreError("failed", f"{where}: {text}")
    if kind == "missing":
        return StoreError(kind, f"{where} {_ADVICE[kind]}")
    return StoreError(kind, f"{where}: {_ADVICE[kind]} ({text})")


def _kind(error: BaseException) -> Kind | None:
    for cause in _causes(error):
        status = _status(cause)
        if status is not None and (found := _of_status(status)) is not None:
            return found
        for ancestor in type(cause).__mro__:
            if ancestor.__name__ in _KINDS:
                return _KINDS[ancestor.__name__]
        if isinstance(cause, OSError) and cause.errno in _ERRNO:
            return _ERRNO[cause.errno]
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _status(error: BaseException) -> int | None:
    """The HTTP status that an exception carries: webdav4's and gcsfs's attribute, botocore's response."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
    return status if isinstance(status, int) else None


def _of_status(status: int) -> Kind | None:
    if status in (401, 403):
        return "denied"
    if status == 404:
        return "missing"
    if status in (413, 507):
        return "full"
    if status in (408, 423, 429) or 500 <= status < 600:
        return "unreachable"
    return None
