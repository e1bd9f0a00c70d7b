"""Builds the wheel and installs it with [local] into a bare environment of every Python of this machine.

In each: import both packages, `dsj --help`, `dsj validate` on an example. Leaves build/wheel-test.txt, a line an
interpreter, also for those left out, with the reason. Exit code 1 when one that fits failed.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "wheel-test"
REPORT = ROOT / "build" / "wheel-test.txt"
EXAMPLE = ROOT / "examples" / "digits.yaml"
TORCH = re.compile(r"^torch==[0-9.]+", re.MULTILINE)
IMPORTS = "import torch, deepseek_operator, deepseek_runtime as runtime; print(runtime.__version__)"
ROOM = 10 * 2**30
"""Bytes of disk that an environment may take: torch with CUDA is 6 GB."""
UNREACHABLE = ("dns error", "Failed to fetch", "error sending request", "Connection refused", "timed out")
NO_WHEEL = re.compile(r"(\S+) has no (?:usable wheels|wheels with a matching Python)")


@dataclass(frozen=True)
class Interpreter:
    version: str
    path: str
    left_out: str


class Failed(Exception):
    """A command did not end with 0; the message is the end of what it said."""


def interpreters() -> list[Interpreter]:
    lines = subprocess.run([ROOT / "scripts" / "pythons.sh"], capture_output=True, text=True, check=True, timeout=120)
    found = []
    for line in lines.stdout.splitlines():
        status, version, path, why = line.split("\t")
        found.append(Interpreter(version, path, why if status == "left-out" else ""))
    return found


def call(*command: str | Path, timeout: float = 1200) -> str:
    """What the command printed. Raises Failed."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=WORK, env=environment)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[0]} took more than {timeout:.0f} s") from error
    if done.returncode:
        raise Failed(f"{Path(command[0]).name} {command[1]}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    return done.stdout


def find_uv() -> str:
    found = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if found is None:
        raise SystemExit("wheel-test: uv is missing; make setup installs it")
    return found


def build(uv: str) -> Path:
    call(uv, "build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", WORK, ROOT)
    return next(WORK.glob("*.whl"))


def install(uv: str, wheel: Path, python: Path) -> None:
    pins = WORK / "pins.txt"
    lock = TORCH.search((ROOT / "requirements-torch.lock").read_text(encoding="utf-8"))
    pins.write_text(f"{lock.group()}\n" if lock else "", encoding="utf-8")
    command = [uv, "pip", "install", "--python", python, "--constraints", pins, f"{wheel}[local]"]
    if wheels := os.environ.get("WHEELS"):
        command += ["--find-links", wheels]
    call(*command)


def try_out(bin_folder: Path, wheel: Path) -> None:
    version = call(bin_folder / "python", "-I", "-c", IMPORTS).strip()
    if f"-{version}-" not in wheel.name:
        raise Failed(f"the wheel is {wheel.name}, the package in it says {version}")
    call(bin_folder / "dsj", "--help")
    call(bin_folder / "dsj", "validate", EXAMPLE)


def why_left_out(error: Failed) -> str | None:
    """The reason when it is not ours, else None."""
    text = str(error)
    if any(word in text for word in UNREACHABLE):
        return "no network: the package index cannot be reached"
    if match := NO_WHEEL.search(text):
        return f"{match.group(1)} has no wheel for it"
    return None


def main() -> int:
    uv = find_uv()
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    lines: list[str] = []
    failed = 0
    try:
        wheel = build(uv)
        for interpreter in interpreters():
            label = f"wheel on Python {interpreter.version}"
            left_out = interpreter.left_out
            if not left_out and shutil.disk_usage(WORK).free < ROOM:
                left_out = f"less than {ROOM / 2**30:.0f} GiB of disk are free"
            if left_out:
                lines.append(f"{label}: left out, {left_out}")
                continue
            environment = WORK / f"python-{interpreter.version}"
            start = time.monotonic()
            try:
                call(uv, "venv", "--python", interpreter.path, environment)
                install(uv, wheel, environment / "bin" / "python")
                try_out(environment / "bin", wheel)
                lines.append(f"{label}: ok, {wheel.name} in {time.monotonic() - start:.0f} s")
            except Failed as error:
                if reason := why_left_out(error):
                    lines.append(f"{label}: left out, {reason}")
                else:
                    failed += 1
                    lines.append(f"{label}: FAILED")
                    print(f"{label}: {error}", file=sys.stderr)
            finally:
                shutil.rmtree(environment, ignore_errors=True)
            print(lines[-1], flush=True)
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    REPORT.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
