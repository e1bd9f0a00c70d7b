"""What a plan reads of a job: numbers and switches, nothing of images or code."""

from dataclasses import dataclass

from deepseek_operator.api.job import DeepseekJob
from deepseek_runtime.contract.names import Role


@dataclass(frozen=True, slots=True)
class Intent:
    """job: its name; uid: of this object, for ever; generation: hash of the user's intent (roll-outs follow from it).

    kill: `dsj stop --kill`: suspended without a drain.
    """

    job: str
    uid: str
    generation: str = ""
    observed_generation: int = 1
    servers: int = 1
    workers: int = 1
    workers_min: int = 1
    suspend: bool = False
    kill: bool = False
    backoff_limit: int = 6
    every_steps: int = 1000
    steps: int | None = None
    """Of the whole job; None: it counts epochs, and the chief says how many steps these are."""
    epochs: int | None = None
    active_deadline: float | None = None
    """Seconds since the job was started or resumed."""
    drain_bound: float = 60.0
    """Seconds that a drain may take before the members are ended without it."""
    keys: str | None = ""
    """Fingerprint of what members are to prove themselves with; None: it is lost, and made anew when none of them is
    left. Empty: nobody looks after it (one machine)."""
    local: bool = True
    """One machine: remedies name `dsj`, not `kubectl`."""

    @classmethod
    def of(cls, job: DeepseekJob, uid: str, generation: str = "") -> "Intent":
        """Of a job as the user wrote it; what moves (scale, stop) is laid over it with dataclasses.replace."""
        spec = job.spec
        return cls(
            job=job.name,
            uid=uid,
            generation=generation,
            servers=spec.servers.replicas,
            workers=spec.workers.replicas,
            workers_min=min(spec.workers.min, spec.workers.replicas),
            suspend=spec.suspend,
            backoff_limit=spec.run_policy.backoff_limit,
            every_steps=spec.checkpoint.every_steps,
            steps=spec.training.steps,
            epochs=spec.training.epochs,
            active_deadline=spec.run_policy.active_deadline_seconds,
        )

    def desired(self, role: Role) -> int:
        return self.servers if role == "server" else self.workers
