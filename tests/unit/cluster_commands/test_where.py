"""Which jobs are meant, and how the next command is spelled."""

import click
import pytest
from click.testing import CliRunner

from deepseek_operator.cli.where import VARIABLE, Where, options, spelled, where

NONE: list[str] = []


def asked(arguments: list[str], environment: dict[str, str], program: str) -> tuple[Where | None, str]:
    """What `program status ARGUMENTS` means, and how it spells a command."""
    found: list[Where | None] = []

    @click.group(params=[*options(hidden=False)])
    def group() -> None:
        pass

    @group.command(params=[*options(hidden=True)])
    def status() -> None:
        found.append(where())

    done = CliRunner(env={VARIABLE: "", **environment}).invoke(group, arguments, prog_name=program)
    assert done.exit_code == 0, done.output
    return found[0], spelled("dsj why x; then dsj run --resume x, or kubectl delete dsj x")


@pytest.mark.parametrize(
    "arguments,environment,program,due,words",
    [
        (["status"], {}, "dsj", None, "dsj"),
        (["status"], {VARIABLE: "0"}, "dsj", None, "dsj"),
        (["status", "--cluster"], {}, "dsj", Where(), "dsj --cluster"),
        (["--cluster", "status"], {}, "dsj", Where(), "dsj --cluster"),
        (["status", "-n", "ml"], {}, "dsj", Where(namespace="ml"), "dsj -n ml"),
        (["-n", "ml", "status"], {}, "dsj", Where(namespace="ml"), "dsj -n ml"),
        (["-n", "a", "status", "-n", "b"], {}, "dsj", Where(namespace="b"), "dsj -n b"),
        (["status", "--context", "c", "-n", "ml"], {}, "dsj", Where("c", "ml"), "dsj --context c -n ml"),
        (["status", "--kubeconfig", "f"], {}, "dsj", Where(kubeconfig="f"), "dsj --kubeconfig f"),
        (["status"], {VARIABLE: "1"}, "dsj", Where(default=True), "dsj"),
        (["status", "--here"], {VARIABLE: "1"}, "dsj", None, "dsj"),
        (["status"], {}, "kubectl dsj", Where(default=True), "kubectl dsj"),
        (["status", "-n", "ml"], {}, "kubectl dsj", Where(namespace="ml", default=True), "kubectl dsj -n ml"),
        (["status", "--here"], {}, "kubectl dsj", None, "dsj"),
    ],
)
def test_which_jobs_are_meant(
    arguments: list[str], environment: dict[str, str], program: str, due: Where | None, words: str
) -> None:
    found, said = asked(arguments, environment, program)
    assert found == due
    assert said == f"{words} why x; then {words} run --resume x, or kubectl delete dsj x"
