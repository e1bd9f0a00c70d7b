"""The logs of a job's members: which there are, and reading one while it grows."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from deepseek_operator.place import Choice, chosen
from deepseek_operator.state_folder import StateFolder
from deepseek_runtime.contract.names import Member

OTHERS = ("supervisor", "etcd")
"""What logs beside the members."""
BLOCK = 2**20


def files(choice: Choice, folder: StateFolder) -> dict[str, Path]:
    """By source. Of each seat the newest incarnation, or all those before it."""
    if choice.role in OTHERS:
        file = folder.logs / f"{choice.role}.log"
        return {choice.role: file} if choice.role is not None and file.exists() else {}
    found = []
    for file in folder.logs.glob("*.log"):
        with contextlib.suppress(ValueError):
            found.append(Member.parse(file.stem))
    return {str(member): folder.logs / f"{member}.log" for member in chosen(choice, found)}


@dataclass(slots=True)
class Followed:
    """A log that grows: whole lines only."""

    file: Path
    at: int = 0
    rest: bytes = b""
    time: str = ""

    def more(self, *, end: bool = False) -> list[str]:
        """What was written since; with `end` also a last line without its end."""
        with contextlib.suppress(OSError), self.file.open("rb") as file:
            file.seek(self.at)
            while block := file.read(BLOCK):
                self.at += len(block)
                self.rest += block
        lines = self.rest.split(b"\n")
        self.rest = lines.pop()
        if end and self.rest:
            lines.append(self.rest)
            self.rest = b""
        return [line.decode(errors="replace") for line in lines]
