"""Which jobs are meant: those of this machine, or those of a cluster. Options of `dsj` itself, and of every command.

A cluster is meant by any of --cluster, --context, --namespace, --kubeconfig; by DSJ_CLUSTER=1; by `kubectl dsj`.
"""

import os
from dataclasses import dataclass
from typing import Any, Final, cast

import click

from deepseek_operator.place import Place, with_options
from deepseek_runtime.contract.exit_codes import USAGE
from deepseek_runtime.contract.names import COMMAND

VARIABLE: Final = "DSJ_CLUSTER"
PLUGIN: Final = "kubectl "
_META: Final = "deepseek_operator.where"
_PLACE: Final = "deepseek_operator.place"


_typed: tuple[str, list[str]] | None = None
"""How the cluster of this call was named: its error is told when click's context is gone."""


@dataclass(frozen=True, slots=True)
class Where:
    """The cluster that is meant, as it was given: empty is the kubeconfig's own word."""

    context: str = ""
    namespace: str = ""
    kubeconfig: str = ""
    default: bool = False
    """It is the cluster without any option: said by the variable, or by being called as kubectl's plugin."""

    @property
    def options(self) -> list[str]:
        """What makes a later command mean the same."""
        named = (("--kubeconfig", self.kubeconfig), ("--context", self.context), ("-n", self.namespace))
        given = [word for option, value in named if value for word in (option, value)]
        return given if given or self.default else ["--cluster"]


def options(*, hidden: bool) -> list[click.Option]:
    """New ones each time. They may stand before the command's name and after it."""
    common: dict[str, Any] = {"expose_value": False, "callback": _remember, "hidden": hidden}
    return [
        click.Option(
            ["--cluster/--here"], default=None, help=f"Jobs of a cluster; of this machine. [{VARIABLE}=1]", **common
        ),
        click.Option(["--context"], metavar="NAME", help="Of the kubeconfig; means a cluster.", **common),
        click.Option(["-n", "--namespace"], metavar="NAME", help="Of the jobs; means a cluster.", **common),
        click.Option(["--kubeconfig"], metavar="FILE", help="Instead of $KUBECONFIG; means a cluster.", **common),
    ]


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    if value is not None and parameter.name is not None:
        context.meta.setdefault(_META, {})[parameter.name] = value
    return value


def means_a_cluster(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    """For options that make sense nowhere else."""
    if value:
        context.meta.setdefault(_META, {}).setdefault("cluster", True)
    return value


def where(context: click.Context | None = None) -> Where | None:
    """None: this machine. Raises click.UsageError."""
    context = context or click.get_current_context()
    given: dict[str, Any] = context.meta.get(_META, {})
    named = {key: value for key, value in given.items() if key != "cluster"}
    plugin = str(context.find_root().info_name or "").startswith(PLUGIN)
    default = plugin or _said(os.environ.get(VARIABLE, ""))
    cluster = given.get("cluster")
    if cluster is False and named:
        raise click.UsageError(f"--here is this machine, --{next(iter(named))} is of a cluster: give one of them")
    global _typed
    if cluster is False or not (cluster or named or default):
        _typed = None
        return None
    found = Where(**named, default=default)
    _typed = (_command(context), found.options)
    return found


def place(context: click.Context | None = None) -> Place:
    """Raises NoCluster."""
    context = context or click.get_current_context()
    found = context.meta.get(_PLACE)
    if found is None:
        found = context.meta[_PLACE] = _made(where(context), _command(context))
    return cast(Place, found)


def spelled(text: str) -> str:
    """A text with commands in it, as they are to be typed where this one was: also after its context has ended."""
    return text if _typed is None else with_options(text, *_typed)


def _made(there: Where | None, command: str) -> Place:
    if there is None:
        from deepseek_operator.jobs_here import Here

        return Here()
    from deepseek_operator.jobs_in_cluster import in_cluster

    def typed(text: str) -> str:
        return with_options(text, command, there.options)

    return in_cluster(there.context, there.namespace, there.kubeconfig, spelled=typed)


def _command(context: click.Context) -> str:
    name = str(context.find_root().info_name or COMMAND)
    return name if name.startswith(PLUGIN) else COMMAND


def _said(value: str) -> bool:
    if value.lower() not in ("", "0", "1", "false", "true", "no", "yes"):
        from deepseek_operator.cli.errors import Refused

        raise Refused(f"{VARIABLE}={value}: 1 or 0", "--context and --namespace say which cluster", USAGE)
    return value.lower() in ("1", "true", "yes")
