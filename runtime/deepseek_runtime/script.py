"""Runs a user's script as a worker of a job."""

import json
import os
import runpy
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepseek_runtime.contract.exit_codes import MISSING_INPUT, USER_CODE
from deepseek_runtime.feed import Feed, JobRefused
from deepseek_runtime.random_state import seed_start
from deepseek_runtime.session import Session, feed_of_job


def run_script(path: str | Path, args: Mapping[str, Any], feed: Feed) -> Session:
    """Runs `path` as `__main__` until it ends; its folder is first on sys.path, `training.code` (or else the script's
    folder too) on it and the working folder.

    Returns the session that it joined with; `finished` is false when the script left its loop before the job was
    over. Raises JobRefused (66: no such file; 65: it never called join); what the script raises goes through, but
    `sys.exit()` and `sys.exit(0)` are an end like any other.
    """
    script = Path(path).resolve()
    if not script.is_file():
        raise JobRefused(
            MISSING_INPUT, "ScriptNotFound", f"training.script: there is no file {Path(path).name} in training.code"
        )
    seed_start(feed.training.seed)
    folder = Path(feed.training.code).resolve() if feed.training.code else script.parent
    with feed_of_job(feed) as seat, _as_started(script, folder, command_line(args)):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            if end.code not in (None, 0):
                raise
    if seat.session is None:
        raise JobRefused(
            USER_CODE,
            "NoSession",
            f"{script.name} ended without calling deepseek_runtime.join(model, optimizer, dataset): it trained nothing",
        )
    return seat.session


def command_line(args: Mapping[str, Any]) -> list[str]:
    """`training.args` as a script reads them: `--key value`; true is a bare `--key`, false and null are left out, a
    list is `--key a b`, a mapping is JSON."""
    words: list[str] = []
    for key, value in args.items():
        if value is None or value is False:
            continue
        words.append(f"--{key}")
        if value is True:
            continue
        items = value if isinstance(value, list | tuple) else [value]
        words += [json.dumps(item) if isinstance(item, dict) else str(item) for item in items]
    return words


@contextmanager
def _as_started(script: Path, folder: Path, words: list[str]) -> Iterator[None]:
    argv, before, paths = sys.argv, Path.cwd(), list(sys.path)
    sys.argv = [str(script), *words]
    sys.path[:0] = list(dict.fromkeys([str(script.parent), str(folder)]))
    os.chdir(folder)
    try:
        yield
    finally:
        sys.argv = argv
        sys.path[:] = paths
        os.chdir(before)
