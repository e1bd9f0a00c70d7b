"""The etcd keys of a job, under /deepseek/<install>/<namespace>/<job>/<uid>/ (docs/formats.md)."""

from dataclasses import dataclass

from deepseek_runtime.contract.names import Role


@dataclass(frozen=True, slots=True)
class JobKeys:
    """The keys of one job. `prefix` ends in a slash and is all that a job's members may read."""

    prefix: str

    @classmethod
    def of(cls, install: str, namespace: str, job: str, uid: str) -> "JobKeys":
        return cls(f"{cls.root(install)}{namespace}/{job}/{uid}/")

    @staticmethod
    def root(install: str) -> str:
        """What all jobs of an installation have in common."""
        return f"/deepseek/{install}/"

    @property
    def term(self) -> str:
        return self.prefix + "term"

    @property
    def state(self) -> str:
        return self.prefix + "state"

    @property
    def progress(self) -> str:
        return self.prefix + "progress"

    @property
    def members(self) -> str:
        return self.prefix + "members/"

    @property
    def requests(self) -> str:
        return self.prefix + "requests/"

    @property
    def commands(self) -> str:
        return self.prefix + "commands/"

    def member(self, role: Role, index: int) -> str:
        return f"{self.members}{role}/{index}"

    def request(self, id: str) -> str:
        return self.requests + id

    def command(self, id: str) -> str:
        return self.commands + id
