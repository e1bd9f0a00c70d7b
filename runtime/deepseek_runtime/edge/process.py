"""A member's process: who it is, how it logs, and what it leaves behind when it exits."""

import json
import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deepseek_runtime.contract import exit_codes, names
from deepseek_runtime.contract.config import ConfigError, JobConfig, load_config, with_secret_options
from deepseek_runtime.contract.names import Member, Role
from deepseek_runtime.contract.records import ExitRecord

_ALL: Final = ("0.0.0.0", "[::]", "*")
_MESSAGE: Final = 4096
"""Bytes of a termination message (Kubernetes' own limit)."""


@dataclass(frozen=True, slots=True)
class Identity:
    me: Member
    config: JobConfig
    secrets: str
    """Folder of keys; empty: none, plain TCP."""
    exit_file: str


class Exit(Exception):
    """Ends the process with an exit record."""

    def __init__(self, code: int, reason: str, message: str = "", *, range: int | None = None, first: bool = False):
        super().__init__(message)
        self.record = ExitRecord(code=code, reason=reason, message=message, range=range, first_range=first)


def identity(role: Role) -> Identity:
    """From the environment (contract/names.py). Raises Exit (78)."""
    path, secrets = os.environ.get(names.ENV_CONFIG, ""), os.environ.get(names.ENV_SECRETS, "")
    if not path:
        raise Exit(exit_codes.CONFIG, "ConfigMissing", f"{names.ENV_CONFIG} does not name a config document")
    try:
        config = with_secret_options(load_config(path), secrets)
    except ConfigError as error:
        raise Exit(exit_codes.CONFIG, "ConfigInvalid", str(error)) from error
    try:
        index = int(os.environ[names.ENV_INDEX])
        incarnation = int(os.environ[names.ENV_INCARNATION])
    except (KeyError, ValueError) as error:
        text = f"{names.ENV_INDEX} and {names.ENV_INCARNATION} must be numbers"
        raise Exit(exit_codes.CONFIG, "ConfigInvalid", text) from error
    me = Member(role, index, incarnation)
    return Identity(me, config, secrets, os.environ.get(names.ENV_EXIT_FILE, ""))


def published(address: str) -> str:
    """The address that others dial, of one that was bound: a pod listens on all of its own, and is told which it has.

    Raises Exit (78) when that is not known.
    """
    head, _, port = address.rpartition(":")
    if head.removeprefix("tcp://") not in _ALL:
        return address
    ip = os.environ.get(names.ENV_POD_IP, "")
    if not ip:
        text = f"{address} is no address that others can dial: {names.ENV_POD_IP} must say which one is"
        raise Exit(exit_codes.CONFIG, "AddressUnknown", text)
    return f"tcp://[{ip}]:{port}" if ":" in ip else f"tcp://{ip}:{port}"


def leave(who: Identity | None, exit: Exit) -> int:
    """Writes the exit record; the process's exit code. Never raises: the record is a courtesy, the code is not."""
    # An exception may name a file whose name is no UTF-8: neither a log nor the record could hold it.
    message = exit.record.message.encode(errors="backslashreplace").decode()
    record = exit.record.model_copy(update={"message": message})
    path = os.environ.get(names.ENV_EXIT_FILE, "")
    if who is not None:
        me = who.me
        record = record.model_copy(update={"role": me.role, "index": me.index, "incarnation": me.incarnation})
    level = logging.INFO if record.code == 0 else logging.ERROR
    logging.getLogger("deepseek_runtime").log(level, "exit %d %s %s", record.code, record.reason, record.message)
    if path:
        text = record.model_copy(update={"message": _cut(record.message)}).model_dump_json(exclude_none=True)
        try:
            _replace(Path(path), text)
        except OSError as error:
            logging.getLogger("deepseek_runtime").warning("the exit record cannot be written: %s", error)
    return record.code


def _cut(message: str) -> str:
    """What fits."""
    return message.encode()[: _MESSAGE - 512].decode(errors="ignore")


def _replace(path: Path, text: str) -> None:
    if (path.exists() and not path.is_file()) or str(path).startswith("/dev/"):
        path.write_text(text, encoding="utf-8")
        return
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


class _Lines(logging.Formatter):
    """key=value on a terminal and in files, JSON in pods (DSJ_LOG=json)."""

    def __init__(self, who: Identity, as_json: bool) -> None:
        super().__init__()
        self._fixed = {"job": who.config.job, "member": str(who.me)}
        self._json = as_json

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if self._json:
            return json.dumps({"time": at, "level": record.levelname, **self._fixed, "message": text})
        return f"{at} {record.levelname} member={self._fixed['member']} {text}"


def start_logging(who: Identity) -> logging.Logger:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(who, os.environ.get(names.ENV_LOG) == "json"))
    logging.basicConfig(level=os.environ.get(names.ENV_LOG_LEVEL, "INFO"), handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of each request
    return logging.getLogger("deepseek_runtime")
