"""`dsj logs`: what members wrote, those that are gone too, and those that are born while it follows."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import click

from deepseek_operator.cli.answer import hint, output_option, say_json_line
from deepseek_operator.cli.errors import Refused
from deepseek_operator.cli.job_name import JobName
from deepseek_operator.cli.signals import Asks
from deepseek_operator.cli.where import place
from deepseek_operator.place import Choice, Job, Log, Patience, Unreadable
from deepseek_operator.view.log_lines import LogLine, merged, shown, stamped, tail
from deepseek_runtime.contract.exit_codes import MISSING_INPUT, OK
from deepseek_runtime.contract.names import COMMAND, ROLES

OPERATOR_LOG = "kubectl logs --all-namespaces --selector app.kubernetes.io/name=deepseek-operator"
MANY = 20
"""Lines of each log where several are shown and --tail is not given."""
TAIL_HELP = f"Only the last lines of each log. By default {MANY} of several logs, all of a single one."


@dataclass(slots=True)
class Stream:
    output: str
    width: int
    open: dict[str, Log] = field(default_factory=dict)

    def write(self, lines: Sequence[LogLine]) -> None:
        for line in lines:
            if self.output == "json":
                say_json_line({"member": line.source, "time": line.time or None, "line": line.text})
            else:
                click.echo(shown(line, self.width))


@click.command()
@click.argument("name", type=JobName())
@click.option("--role", type=click.Choice([*ROLES, "supervisor", "etcd"]), default=None, help="Only this role's logs.")
@click.option("--index", type=click.IntRange(min=0), default=None, help="Only the member of this index.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends; members that are born later too.")
@click.option("--tail", "most", type=click.IntRange(min=0), default=None, help=TAIL_HELP)
@click.option("--previous", is_flag=True, help="Of incarnations that were replaced.")
@output_option
def logs(
    name: str, role: str | None, index: int | None, follow: bool, most: int | None, previous: bool, output: str
) -> int:
    """Show what members wrote, those that are gone too.

    Lines of several members come in the order of time.

    \b
      dsj logs digits
      dsj logs digits --role worker --index 0
      dsj logs digits --role worker --index 0 --previous
      dsj logs digits -f
    """
    job = place().find(name)
    choice = Choice(role, index, previous)
    if role is not None and role not in (*ROLES, *job.log_sources):
        where = "in a cluster the operator runs all jobs and has its own log, and one etcd serves them all"
        raise Refused(f"{name} has no log of {role} of its own: {where}", OPERATOR_LOG, MISSING_INPUT)
    single = index is not None or role in job.log_sources
    found = job.logs(choice, most if most is not None or single else MANY)
    if not found and not follow:
        raise _nothing(name, choice)
    single = len(found) == 1 and role is not None and single
    if most is None and not single:
        most = MANY
    stream = Stream(output, 0 if single else max([10, *map(len, found)]))
    stream.open = dict(found)
    alive = job.alive()
    stream.write(merged({s: tail(one.more(end=not (follow and alive)), most) for s, one in stream.open.items()}))
    if follow:
        _follow(job, choice, stream)
    else:
        hint([f"{COMMAND} logs {name} -f", f"{COMMAND} why {name}"], output)
    return OK


def _follow(job: Job, choice: Choice, stream: Stream) -> None:
    """Until the job has ended, or Ctrl-C."""
    patience = Patience(job.patience)
    with Asks() as asks:
        alive = True
        while alive and not asks.count:
            try:
                alive = job.alive()  # before the last look at the logs
                patience.renew()
            except Unreadable:
                if not patience.lasts():
                    raise
                asks.wait(job.tick)
                continue
            for source, log in job.logs(choice).items():
                stream.open.setdefault(source, log)
            lines = []
            for source, one in stream.open.items():
                added = list(stamped(source, one.more(end=not alive), one.time))
                one.time = added[-1].time if added else one.time
                lines += added
            stream.write(sorted(lines, key=lambda line: line.time))
            if alive:
                asks.wait(job.tick)


def _nothing(name: str, choice: Choice) -> Refused:
    who = " ".join(str(part) for part in (choice.role, choice.index) if part is not None) or "any member"
    if choice.previous:
        return Refused(f"no member of {name} was replaced ({who})", f"{COMMAND} logs {name}", MISSING_INPUT)
    if place().cluster:
        gone = "a job that has ended keeps the pods that spec.runPolicy.cleanPodPolicy says"
        return Refused(f"no pod of {who} of {name} is there", f"{gone}; {COMMAND} events {name}", MISSING_INPUT)
    return Refused(f"there are no logs of {who} in {name}", f"{COMMAND} status {name}", MISSING_INPUT)
