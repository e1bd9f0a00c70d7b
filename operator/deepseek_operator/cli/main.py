"""The command `dsj`, also `kubectl dsj`: its commands, each in a file of its own, and how errors end it.

Exit codes: docs/reference/exit-codes.md. No error ends in a traceback of ours unless --debug asks for it.
"""

import errno
import importlib
import io
import os
import re
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from deepseek_operator.cli.errors import FORBIDDEN, INTERRUPTED, UNAVAILABLE, Refused
from deepseek_operator.cli.where import options
from deepseek_runtime.contract.exit_codes import CONFIG, CRASHED, MISSING_INPUT, OK, USAGE
from deepseek_runtime.contract.names import COMMAND
from deepseek_runtime.contract.version import VERSION

PACKAGE: Final = "deepseek_operator.cli"
SECTIONS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Start and end", ("run", "stop", "scale", "delete", "validate")),
    ("Look", ("jobs", "status", "watch", "why", "logs", "events", "wait")),
    ("Results", ("export", "checkpoints", "plot", "tensorboard")),
    ("Shell", ("completion",)),
)
"""Each command is a function of its name in a module of its name."""


class Commands(click.Group):
    """Loads a command when it is asked for, and turns every error into a line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for _, names in SECTIONS for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{PACKAGE}.{cmd_name}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        if not any(parameter.name == "namespace" for parameter in command.params):
            command.params += options(hidden=True)  # said once, by `dsj -h`
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in SECTIONS:
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl([(name, one.get_short_help_str(70)) for name, one in commands if one is not None])

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        arguments = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # whatever a name holds, it can be said
                stream.reconfigure(errors="backslashreplace")
        debug = "--debug" in arguments or bool(os.environ.get("DSJ_DEBUG"))
        sys.exit(_guarded(lambda: super(Commands, self).main(arguments, prog_name, **extra), debug))


def _guarded(call: Any, debug: bool) -> int:
    """The exit code of a call that may raise anything."""
    # Only what every command already has is imported here, so that --help stays quick.
    try:
        answer = call()
        sys.stdout.flush()
        return answer if isinstance(answer, int) else OK
    except click.UsageError as error:
        error.show()
        return USAGE
    except Refused as error:
        error.show()
        return error.code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has left (`dsj logs | head`); what Python would still flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:  # noqa: BLE001 -- the last place where an error can still become a line
        return _told(error, debug)


def _told(error: Exception, debug: bool) -> int:
    from deepseek_operator.api.problems import ManifestError
    from deepseek_operator.kept import NotThere
    from deepseek_operator.launch import StartRefused
    from deepseek_operator.place import Unreadable
    from deepseek_operator.state_folder import StateBroken

    if isinstance(error, ManifestError):
        click.echo(str(error), err=True)
        click.echo(f"hint: nothing was started; `{COMMAND} validate FILE` checks again", err=True)
        return error.exit_code
    if isinstance(error, StartRefused):
        Refused(str(error), error.hint).show()
        return error.code
    if isinstance(error, NotThere):
        Refused(str(error), error.hint).show()
        return MISSING_INPUT
    if isinstance(error, StateBroken):
        Refused(str(error), f"`{COMMAND} delete NAME` removes what is left of the job").show()
        return CRASHED
    if isinstance(error, Unreadable):
        Refused(str(error), "`kubectl cluster-info` shows whether it answers").show()
        return UNAVAILABLE
    if "deepseek_operator.kube" in sys.modules and (code := _told_of_a_cluster(error)) is not None:
        return code
    if debug:
        traceback.print_exception(error)
        return CRASHED
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        Refused(f"{error.strerror}{where}", _remedy(error)).show()
        return CRASHED
    said = " ".join(str(error).split())
    Refused(f"{type(error).__name__} in {COMMAND} itself: {said}", _written_down(error)).show()
    return CRASHED


def _told_of_a_cluster(error: Exception) -> int | None:
    """None: it is nothing that a cluster said."""
    from deepseek_operator import kube

    if isinstance(error, kube.NoCluster):
        Refused(str(error), "`kubectl config get-contexts` lists what is known; --here is this machine").show()
        return MISSING_INPUT
    if isinstance(error, kube.Forbidden):
        Refused(*_forbidden(str(error))).show()
        return FORBIDDEN
    if isinstance(error, kube.NotFound):
        Refused(f"the cluster does not know what was asked for: {error}").show()
        return MISSING_INPUT
    if isinstance(error, kube.Invalid):
        Refused(f"the API server refuses this: {error}").show()
        return CONFIG
    if isinstance(error, kube.Unreachable):
        Refused(str(error), "`kubectl cluster-info` shows whether it answers").show()
        return UNAVAILABLE
    if isinstance(error, kube.ApiError):
        Refused(str(error), "somebody else changed it just then; try again").show()
        return CRASHED
    return None


def _forbidden(message: str) -> tuple[str, str]:
    """What may not be done, from the API server's own words, and whom to ask."""
    said = re.search(r'User "([^"]*)" cannot (\S+) resource "([^"]*)".*?(?:in the namespace "([^"]*)")?$', message)
    if said is None:
        hint = "`kubectl auth whoami` shows who you are there" if "nauthorized" in message else ""
        return f"the cluster does not let you: {message}", hint
    user, verb, resource, namespace = said.groups()
    inside = f" -n {namespace}" if namespace else " --all-namespaces"
    asked = f"`kubectl auth can-i {verb} {resource}{inside}`"
    return (
        f"{user} may not {verb} {resource}" + (f" in the namespace {namespace}" if namespace else " in all namespaces"),
        f"an administrator of it can give you the role edit (view, to look); {asked} asks again",
    )


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room there"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "give yourself the right to it; jobs lie in $XDG_STATE_HOME, which may name another folder"
    return "--debug shows where this came from"


def _written_down(error: Exception) -> str:
    """Where the traceback was kept, as a hint."""
    from deepseek_operator.state_folder import default_state_root

    file = Path(default_state_root()) / "errors.log"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {' '.join(sys.argv)}\n")
            traceback.print_exception(error, file=log)
    except OSError:
        return "this is a fault of ours; --debug shows where"
    return f"this is a fault of ours; its traceback stands in {file}, please report it"


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"{COMMAND} COMMAND -h shows what a command takes, with examples. Exit codes: docs/reference/exit-codes.md",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
@click.version_option(VERSION, message="%(prog)s %(version)s")
def dsj(debug: bool) -> None:
    """Train PyTorch models on parameter servers: run a DeepseekJob, and look after it.

    On this machine, or in a cluster: with any of --cluster, --context, -n, --kubeconfig (before or after the command),
    with DSJ_CLUSTER=1, or as `kubectl dsj`.

    \b
      dsj run job.yaml        start a job and watch it
      dsj status digits       how is it?
      dsj why digits          what keeps it from running?
      dsj status -n ml        the jobs of a namespace
    """


dsj.params += options(hidden=False)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point: `dsj`, and `kubectl-dsj`, which kubectl finds as its plugin `kubectl dsj`."""
    called = Path(sys.argv[0]).name
    dsj.main(arguments, prog_name=called.replace("kubectl-", "kubectl ") if called.startswith("kubectl-") else COMMAND)


if __name__ == "__main__":
    main()
