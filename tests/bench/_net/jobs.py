"""A job by the local executor, as `dsj run` starts it, each member in the namespace of its name."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench._net.network import BASES, NET, Network, enter, namespace
from bench._net.relay import Relay
from builders.real_jobs import Jobs
from deepseek_operator.executors.etcd_keeper import read_etcd_file
from deepseek_operator.state_folder import StateFolder
from deepseek_runtime.contract.config import JobConfig, Timing
from deepseek_runtime.contract.names import ENV_CONFIG, ENV_INDEX, ENV_POD_IP, ENV_ROLE, Role

TIMING: Final = Timing(progress=1.0)
BOUND: Final = str(JobConfig.model_fields["bind"].default)
"""Where servers of a job on one machine listen: nobody outside their namespace would find them there."""


class NetJobs:
    """Jobs in a network; `end` leaves none of them running."""

    def __init__(self, root: Path, network: Network) -> None:
        self.jobs = Jobs(root)
        self._network = network
        self._relays: list[Relay] = []
        self._commands: dict[Role, tuple[str, ...]] = {role: self._command(root, role) for role in ("server", "worker")}

    def start(self, training: Mapping[str, Any], *, timing: Timing = TIMING, **more: Any) -> StateFolder:
        """As Jobs.start. Members begin when they reach etcd, which they do a moment after it was started."""
        folder = self.jobs.start(training, timing=timing, commands=self._commands, **more)
        etcd = read_etcd_file(folder.etcd_file)
        assert etcd is not None
        self._relays.append(Relay((host for host in self._network.hosts if not host.startswith("store")), etcd.client))
        return folder

    def end(self) -> None:
        self.jobs.end()
        while self._relays:
            self._relays.pop().close()

    def _command(self, root: Path, role: Role) -> tuple[str, ...]:
        script = root / f"{role}.sh"
        script.write_text(member_script(role), encoding="utf-8")
        return ("/bin/sh", str(script))


def member_script(role: Role) -> str:
    """Of a member: its config says that it listens on all addresses of its host, as a pod's does."""
    index, nsenter = f"${{{ENV_INDEX}}}", enter(f"{role}-0")[0]
    lines = [
        "set -e",
        f"{ENV_POD_IP}={NET}.$(({BASES[role]} + {index}))",
        f'own="${{{ENV_CONFIG}}}.${{{ENV_ROLE}}}-{index}"',
        f'sed \'s#{BOUND}#tcp://0.0.0.0:0#\' "${{{ENV_CONFIG}}}" > "$own"',
        f'{ENV_CONFIG}="$own"',
        f"export {ENV_POD_IP} {ENV_CONFIG}",
        f"exec {nsenter} --net=/run/netns/{namespace(role)}-{index} {sys.executable} -P -m deepseek_runtime.{role}",
    ]
    return "\n".join(lines) + "\n"
