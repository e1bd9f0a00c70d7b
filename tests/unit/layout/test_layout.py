"""The shape of the repository: what may be where, and what may reach what."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import deepseek_runtime

ROOT = Path(__file__).resolve().parents[3]

# Patterns that do not match themselves, so that this file names nothing.
HOSTS = r"pypi[.]org|pythonhosted[.]org|download[.]pytorch[.]org|registry[.]npmjs|deb[.]debian[.]org"
MACHINE_PATHS = r"(?<![\w.])/(wor[k]|roo[t]|far[m])/"


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files are the project's is not known")
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_source_roots_are_no_packages() -> None:
    """operator/__init__.py would shadow the standard library's module for whoever starts Python here."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "runtime" / "__init__.py").exists()


def test_tests_are_no_packages() -> None:
    suites = [ROOT / "tests" / "unit", ROOT / "tests" / "integration"]
    assert [path for suite in suites for path in suite.rglob("__init__.py")] == []


@pytest.mark.parametrize("words", [HOSTS, MACHINE_PATHS], ids=["registry hosts", "paths of one machine"])
def test_no_tracked_file_names(words: str) -> None:
    pattern = re.compile(words)
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in pattern.finditer(text)]
    assert found == []


def printed(script: str) -> list[str]:
    """By a fresh interpreter with nothing but the runtime on its path."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'runtime'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_server_starts_without_torch() -> None:
    """A server knows vectors, not models; torch would add seconds to each recovery."""
    script = "import sys, deepseek_runtime.server; print(*sorted(m for m in sys.modules if m.split('.')[0] == 'torch'))"
    assert printed(script) == []


def test_the_contract_needs_pydantic_alone() -> None:
    script = (
        "import sys, pkgutil, importlib, deepseek_runtime.contract as c\n"
        "for m in pkgutil.iter_modules(c.__path__): importlib.import_module(c.__name__ + '.' + m.name)\n"
        "print(*sorted({'torch', 'numpy', 'zmq', 'pyetcd', 'kopf'} & set(sys.modules)))"
    )
    assert printed(script) == []


def test_public_names_are_frozen() -> None:
    """What user code may import. A change here is a change for users: CHANGELOG.md says it."""
    assert sorted(deepseek_runtime.__all__) == ["Session", "__version__", "join"]
