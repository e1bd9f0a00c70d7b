"""One command that must succeed, with its output."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class CommandFailed(Exception):
    """A command ended with an error or not in time. The message has the command and the end of what it said."""


def run(
    *command: str | Path,
    timeout: float = 60.0,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    given: str | None = None,
) -> str:
    """Runs `command` and returns what it wrote to stdout.

    `environment` is added to ours, `given` is its stdin. Raises CommandFailed when it fails, is not there or takes
    longer than `timeout` seconds (it is killed then).
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            input=given if given is not None else "",
            cwd=folder,
            env=None if environment is None else {**os.environ, **environment},
        )
    except FileNotFoundError as error:
        raise CommandFailed(f"{words[0]}: not found") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{_short(words)}: not done after {timeout:g} s") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-3000:]
        raise CommandFailed(f"{_short(words)}: exit code {done.returncode}\n{said}")
    return done.stdout


def succeeds(*command: str | Path, timeout: float = 60.0) -> bool:
    try:
        run(*command, timeout=timeout)
    except CommandFailed:
        return False
    return True


def _short(words: Sequence[str]) -> str:
    text = shlex.join(words)
    return text if len(text) < 300 else f"{text[:300]}…"
