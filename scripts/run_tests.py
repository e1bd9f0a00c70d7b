"""`make test` and `make test-cluster`: pytest, the wheel, a real Kubernetes; then what ran where, what not, and why.

    scripts/run_tests.py [tests] [wheel] [cluster]        (default: all three)

SLOW=1 runs the tests marked slow too. CLUSTER is the number of the test cluster (0); `none` leaves that part out. What
a cluster needs (the programs of Kubernetes, images) is built beside the other parts, of CPU time that these leave. A
cluster that is up is used and left up, else one is started, and removed. What a machine cannot run is left out with
the reason; what it should be able to run and cannot is a failure. The exit code is 1 when something failed: what comes
after it is not begun.
"""

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree

from preparation import Preparation, PreparationFailed

from testcluster import cluster, kind, needs
from testcluster.commands import CommandFailed
from testcluster.daemons import NotReady
from testcluster.layout import Layout

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
GRACE = 10
"""Seconds of silence after which a node is lost, where the tests start the cluster: they need not wait for 50."""
ENDING = 120.0
"""Seconds that what is interrupted may take to remove what it has started."""
OF_THE_OPERATOR = ("tests/cluster/crd", "tests/cluster/operator")
SLOW = bool(os.environ.get("SLOW"))
CLUSTER = os.environ.get("CLUSTER") or "0"
WITHOUT = "CLUSTER=none runs everything else"
PARTS = ("tests", "wheel", "cluster")

ran: list[str] = []
left_out: list[str] = []
running: list["subprocess.Popen[bytes]"] = []
failed: list[str] = []


class Failed(Exception):
    """A part failed; the message is a line for the end. What it has to show was shown before."""


class Ended(KeyboardInterrupt):
    """SIGTERM: unlike one from a keyboard, it came to us alone."""


def told_to_end(number: int, frame: FrameType | None) -> None:
    raise Ended


def main() -> int:
    parts = sys.argv[1:] or list(PARTS)
    if unknown := [part for part in parts if part not in PARTS]:
        raise SystemExit(f"there is no part {unknown[0]}: {', '.join(PARTS)}")
    if CLUSTER != "none" and not CLUSTER.isdecimal():
        raise SystemExit(f"CLUSTER is {CLUSTER!r}; right: the number of a test cluster, or none")
    BUILD.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, told_to_end)
    begin = time.monotonic()
    try:
        place = place_of_cluster() if "cluster" in parts else ""
        if not place:
            parts = [part for part in parts if part != "cluster"]
        with Preparation(BUILD / "cluster-prepare.log", wanted=place == "here") as preparation:
            while parts:
                run(parts.pop(0), place, preparation)
    except (Failed, PreparationFailed) as failure:
        failed.append(str(failure))
    except KeyboardInterrupt:
        failed.append("interrupted")
    left_out.extend(f"{part}: not begun" for part in parts)
    if not SLOW:
        left_out.append("tests marked slow: SLOW=1 runs them too")
    if shutil.which("nvidia-smi") is None:
        left_out.append("tests on a GPU: this machine has none")
    tell(time.monotonic() - begin)
    return 1 if failed else 0


def place_of_cluster() -> str:
    """`here`, `kind`, or nothing, and then it is told why. Raises Failed where one should be possible and is not."""
    if CLUSTER == "none":
        left_out.append("tests in a real Kubernetes: CLUSTER=none was given")
        return ""
    if needs.installable() and call(ROOT / "scripts" / "cluster-packages.sh"):
        raise Failed(f"cluster: scripts/cluster-packages.sh could not install what a cluster needs; {WITHOUT}")
    reason = needs.why_not()
    if reason is None:
        return "here"
    if needs.installable():
        raise Failed(f"cluster: {reason}; {WITHOUT}")
    if kind.usable():
        left_out.append(f"tests in a real Kubernetes but those of its API server (by kind, in Docker): {reason}")
        return "kind"
    left_out.append(f"tests in a real Kubernetes: {reason}, or Docker for a part of them (by kind)")
    return ""


def run(part: str, place: str, preparation: Preparation) -> None:
    if part == "tests":
        # Two processes on any machine: half of the tests wait for members of jobs, the other half compute.
        pytest("tests", "-n", "2", "--dist", "worksteal", where=f"torch {version('torch')}")
    elif part == "wheel":
        wheel()
    elif place == "kind":
        in_kind()
    else:
        preparation.wait()
        ran.append(f"cluster: {preparation.told()}")
        in_cluster()


def call(*command: str | Path, environment: dict[str, str] | None = None, log: Path | None = None) -> int:
    """Its exit code. When we are interrupted it is let end in good order: it may have jobs, or pods."""
    with ExitStack() as stack:
        file = stack.enter_context(log.open("wb")) if log else None
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **(environment or {})}, stdout=file, stderr=file and subprocess.STDOUT
        )
    running.append(process)
    try:
        return process.wait()
    except KeyboardInterrupt as interrupted:
        if isinstance(interrupted, Ended):
            for one in running:
                one.send_signal(signal.SIGINT)
        for one in running:
            try:
                one.wait(ENDING)
            except subprocess.TimeoutExpired:
                one.kill()
        raise


def pytest(
    part: str,
    *words: str,
    where: str,
    marks: str = "",
    environment: dict[str, str] | None = None,
    log: Path | None = None,
) -> None:
    """Runs it and notes what ran. Raises Failed."""
    file = BUILD / f"{part}.xml"
    file.unlink(missing_ok=True)
    chosen = " and ".join(mark for mark in (marks, "" if SLOW else "not slow") if mark)
    command = [sys.executable, "-m", "pytest", *words, "-m", chosen, "--durations=10", f"--junit-xml={file}"]
    code = call(*command, environment=environment, log=log)
    suite = ElementTree.parse(file).getroot().find("testsuite") if file.exists() else None
    if suite is not None:
        skips = Counter(one.get("message", "") for one in suite.iter("skipped"))
        ran.append(
            f"{part}: {suite.get('tests')} in {float(suite.get('time', 0)):.0f} s, "
            f"Python {platform.python_version()}, {where}; skipped {skips.total()}"
        )
        ran.extend(f"  skipped {number}: {reason}" for reason, number in skips.items())
    if code:
        raise Failed(f"{part}: pytest ended with exit code {code}")


def wheel() -> None:
    code = call(sys.executable, ROOT / "scripts" / "wheel_test.py")
    lines = (BUILD / "wheel-test.txt").read_text(encoding="utf-8").splitlines() if not code else []
    ran.extend(line for line in lines if ": left out, " not in line)
    left_out.extend(line.replace(": left out, ", ": ") for line in lines if ": left out, " in line)
    if code:
        raise Failed(f"wheel: exit code {code}")


def in_cluster() -> None:
    layout = Layout(int(CLUSTER))
    begin = time.monotonic()
    try:
        with cluster.found_or_started(layout, grace=GRACE, say=say) as (there, found):
            how = "was up" if found else f"started in {time.monotonic() - begin:.0f} s"
            nodes = there.get("nodes")["items"]
            kubernetes = nodes[0]["status"]["nodeInfo"]["kubeletVersion"]
            of_a_cluster(f"Kubernetes {kubernetes}, {len(nodes)} nodes of this machine ({how})")
    except (CommandFailed, NotReady, cluster.AlreadyUp) as error:
        raise Failed(f"cluster: {error}") from error


def of_a_cluster(where: str) -> None:
    """What trains, and the release that it needs, in one process; in another what mostly waits; then who is alone."""
    log = BUILD / "cluster-operator.log"
    with ThreadPoolExecutor(max_workers=1) as beside:
        other = beside.submit(pytest, "cluster-operator", *OF_THE_OPERATOR, marks="not alone", where=where, log=log)
        try:
            ignored = [f"--ignore={folder}" for folder in OF_THE_OPERATOR]
            pytest("cluster", "tests/cluster", *ignored, marks="not alone", where=where)
        finally:
            other.exception()
            print(log.read_text(errors="replace"), flush=True)
        other.result()
    pytest("cluster-alone", "tests/cluster", marks="alone", where=where)


def say(line: str) -> None:
    print(f"cluster: {line}", flush=True)


def in_kind() -> None:
    layout = Layout(int(CLUSTER))
    found = kind.answers(layout)
    try:
        if not found:
            kind.up(layout)  # one that cannot be made leaves nothing; another of that name is not ours to remove
        try:
            pytest(
                *("cluster", "tests/cluster/crd"),
                where=f"Kubernetes of {kind.IMAGE}",
                environment={
                    "DSJ_TEST_KUBECONFIG": str(layout.kubeconfig),
                    "PATH": f"{layout.programs}:{os.environ['PATH']}",
                },
            )
        finally:
            if not found:
                kind.down(layout)
    except CommandFailed as error:
        raise Failed(f"cluster: {error}") from error


def tell(seconds: float) -> None:
    load = os.getloadavg()[2]
    print(f"\n{seconds:.0f} s on {os.cpu_count()} cores, whose load was {load:.1f} in the last 15 minutes")
    for title, lines in (("What ran where", ran), ("What was left out", left_out), ("What failed", failed)):
        if lines:
            print(title)
            print("\n".join(f"  {line}" for line in lines), flush=True)


if __name__ == "__main__":
    sys.exit(main())
