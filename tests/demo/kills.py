"""SIGKILL at given parts of a job: the processes that a demo loses on purpose."""

import os
import signal
from dataclasses import dataclass, field

from deepseek_operator.executors.etcd_keeper import read_etcd_file
from deepseek_operator.state_folder import StateFolder


@dataclass(slots=True)
class Killer:
    """`plan`: (share of the steps, role, index); each is carried out once, in order."""

    folder: StateFolder
    plan: list[tuple[float, str, int]]
    done: list[str] = field(default_factory=list)

    def look(self, step: int, steps: int) -> str | None:
        """Kills what is due at `step`; what was killed, in words."""
        if not self.plan or step < self.plan[0][0] * steps:
            return None
        pid = self._pid(*self.plan[0][1:])
        if pid is None:
            return None
        share, role, index = self.plan.pop(0)
        os.kill(pid, signal.SIGKILL)
        name = role if role == "etcd" else f"{role} {index}"
        text = f"SIGKILL to {name} (process {pid}) at step {step} ({share:.0%})"
        self.done.append(text)
        return text

    def _pid(self, role: str, index: int) -> int | None:
        if role == "etcd":
            etcd = read_etcd_file(self.folder.etcd_file)
            return etcd.pid or None if etcd is not None else None
        for member in self.folder.status().members:
            if (member.role, member.index) == (role, index) and member.phase == "running":
                return member.pid
        return None
