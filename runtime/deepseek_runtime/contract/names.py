"""Names that control plane and data plane must spell alike. Nothing else may spell them out."""

from dataclasses import dataclass
from typing import Final, Literal

COMMAND: Final = "dsj"
GROUP: Final = "deepseek.dev"
API_VERSION: Final = f"{GROUP}/v1alpha1"
KIND: Final = "DeepseekJob"
PLURAL: Final = "deepseekjobs"
SHORT_NAME: Final = "dsj"

LABEL_JOB: Final = f"{GROUP}/job"
LABEL_ROLE: Final = f"{GROUP}/role"
LABEL_INDEX: Final = f"{GROUP}/index"
LABEL_INCARNATION: Final = f"{GROUP}/incarnation"
LABEL_GENERATION: Final = f"{GROUP}/generation"
"""Of a member's pod: the hash of the user's intent that it was made for."""
LABEL_PART: Final = f"{GROUP}/part"
"""Of everything else that belongs to a job: which part it is, such as `config` or `code`."""
LABEL_KEPT: Final = f"{GROUP}/kept"
"""Of a pod that has ended and stays to be looked at: nobody's member any more."""
ANNOTATION_IMAGE: Final = f"{GROUP}/image"
"""Of the ConfigMap with the config document: the image of the members that read it."""
ANNOTATION_PULL_SECRETS: Final = f"{GROUP}/pull-secrets"
"""Beside it: names, separated by commas."""
CONTAINER: Final = "member"
"""The container of a member's pod."""

ENV_CONFIG: Final = "DSJ_CONFIG"
"""Path of the config document."""
ENV_SECRETS: Final = "DSJ_SECRETS"
"""Folder of keys (curve.py)."""
ENV_ROLE: Final = "DSJ_ROLE"
ENV_INDEX: Final = "DSJ_INDEX"
ENV_INCARNATION: Final = "DSJ_INCARNATION"
ENV_EXIT_FILE: Final = "DSJ_EXIT_FILE"
"""Where a member writes its ExitRecord before it leaves (in pods /dev/termination-log)."""

ENV_POD_IP: Final = "DSJ_POD_IP"
"""The address that a server publishes when it listens on all of its host's."""
ENV_LOG: Final = "DSJ_LOG"
"""`json`: log lines as JSON."""
ENV_LOG_LEVEL: Final = "DSJ_LOG_LEVEL"
ENV_KERNELS: Final = "DSJ_KERNELS"
"""A folder of an image with kernels compiled when it was made (`compression.warm` with NUMBA_CACHE_DIR set to it)."""
STORAGE_FILE: Final = "storage.json"
"""In the folder of keys: options of the checkpoint storage that must not stand in the config document (credentials)."""
STORE_CA_FILE: Final = "store-ca.crt"
"""Beside it: who signed the certificate of the chart's own store."""

SERVER_PORT: Final = 7077
MAX_NAME: Final = 63

Role = Literal["server", "worker"]
ROLES: Final[tuple[Role, ...]] = ("server", "worker")


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """One process of a job: its role, its index in that role, and which try this is."""

    role: Role
    index: int
    incarnation: int

    def __str__(self) -> str:
        return f"{self.role}-{self.index}-{self.incarnation}"

    @classmethod
    def parse(cls, text: str) -> "Member":
        """The inverse of `str`. Raises ValueError when `text` is no member's name."""
        parts = text.split("-")
        if len(parts) != 3 or not parts[1].isdigit() or not parts[2].isdigit():
            raise ValueError(f"not a member: {text!r}")
        if parts[0] == "server":
            return cls("server", int(parts[1]), int(parts[2]))
        if parts[0] == "worker":
            return cls("worker", int(parts[1]), int(parts[2]))
        raise ValueError(f"not a member: {text!r}")


def member_name(job: str, member: Member) -> str:
    """`<job>-<role>-<index>-<incarnation>`: a replacement never waits for the name of the old one."""
    return f"{job}-{member}"
