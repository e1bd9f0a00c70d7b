"""kubectl as people use it, in a namespace of its own."""

import subprocess
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class Kubectl:
    program: str
    kubeconfig: str
    namespace: str

    def __call__(self, *words: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.program, f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *words],
            input=given, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def done(self, *words: str, given: str | None = None) -> str:
        """What it wrote; fails when it fails."""
        answer = self(*words, given=given)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def judged(self, manifest: str) -> str:
        """What `kubectl apply` says to a manifest that is refused; empty when the API server would take it."""
        answer = self("apply", "--dry-run=server", "-f", "-", given=manifest)
        return answer.stderr if answer.returncode else ""

    def job(self, name: str) -> dict[str, Any]:
        found = yaml.safe_load(self.done("get", "deepseekjob", name, "--output=yaml"))
        assert isinstance(found, dict)
        return found
