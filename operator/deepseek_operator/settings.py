"""What an administrator (in a cluster: the chart) tells the operator: options, each with a variable of its own.

`--watch-namespaces` is DSJ_OPERATOR_WATCH_NAMESPACES, and so on; an option wins over its variable.
"""

import argparse
import os
import re
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from deepseek_operator.executors.render.settings import USER

PREFIX = "DSJ_OPERATOR_"


class SettingsError(Exception):
    """An option or variable cannot be used; the message names it and says what would be right."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field is an option; HELP says what it means."""

    watch_namespaces: tuple[str, ...] = ()
    namespace: str = ""
    own_secrets: tuple[str, ...] = ()
    own_claims: tuple[str, ...] = ()
    own_labels: tuple[tuple[str, str], ...] = ()
    install: str = "default"
    identity: str = ""
    image: str = ""
    pull_policy: str = ""
    pull_secrets: tuple[str, ...] = ()
    run_as: int | None = USER
    node_lost_seconds: int = 15
    network_policies: bool = True
    open_ports: tuple[int, ...] = (80, 443)
    etcd: tuple[str, ...] = ("127.0.0.1:2379",)
    etcd_certificates: Path | None = None
    credentials: Path | None = None
    store_uri: str = ""
    store_key: Path | None = None
    store_ca: Path | None = None
    workers: int = 8
    requests_per_second: float = 50.0
    progress_per_second: float = 20.0
    resync_seconds: float = 300.0
    drain_seconds: float = 60.0
    port: int = 8080
    log: str = "auto"
    log_level: str = "INFO"

    @property
    def cluster_wide(self) -> bool:
        return not self.watch_namespaces


HELP = {
    "watch_namespaces": "namespaces whose jobs are run, separated by commas; empty: all of the cluster",
    "namespace": "the operator's own namespace, where its Lease is; empty: as the pod or the kubeconfig says",
    "own_secrets": "Secrets in the operator's own namespace that no job may name, separated by commas",
    "own_claims": "PersistentVolumeClaims there that no job may name",
    "own_labels": "labels that all pods of this installation have, KEY=VALUE separated by commas: no job there may "
    "have all of them",
    "install": "name of this installation: of its Lease, and of its part of etcd",
    "identity": "what this replica is called in the Lease; in pods the pod's uid; empty: one for this process alone",
    "image": "image of members whose job names none",
    "pull_policy": "when members' images are pulled: Always, IfNotPresent or Never; empty: as Kubernetes has it",
    "pull_secrets": "Secrets in the jobs' namespaces that open registries, separated by commas",
    "run_as": "user and group of members, a number; empty: as the image or the namespace says",
    "node_lost_seconds": "how long members stay bound to a node that says nothing",
    "network_policies": "true or false: whether each job gets a NetworkPolicy",
    "open_ports": "to which ports members may talk anywhere, beside DNS, etcd and the storage; separated by commas",
    "etcd": "host:port of each etcd member, separated by commas",
    "etcd_certificates": "folder with ca.crt, tls.crt and tls.key for etcd, and ca.key to sign the jobs' own; "
    "empty: etcd is spoken to in the clear",
    "credentials": "folder that python -m deepseek_operator.credentials has filled, to renew what does not last; "
    "empty: none",
    "store_uri": "where checkpoints go of jobs that name no storage: an fsspec URI that every pod reaches",
    "store_key": "file with the key from which passwords for the store are made; empty: it asks for none",
    "store_ca": "file with the certificates that vouch for the store; empty: the usual ones",
    "workers": "how many jobs are looked at at the same time",
    "requests_per_second": "most requests to the API server, watches and the Lease aside",
    "progress_per_second": "most writes that only tell progress, of all jobs together",
    "resync_seconds": "how often everything is listed anew, in case a watch missed something",
    "drain_seconds": "how long a drain may take before members are ended without it",
    "port": "where /metrics, /healthz and /readyz are served; 0: a free one, which is logged",
    "log": "json, text, or auto: text on a terminal, else json",
    "log_level": "DEBUG, INFO, WARNING or ERROR",
}


def read_settings(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Raises SettingsError; `--help` prints and exits, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="python -m deepseek_operator",
        description="Runs DeepseekJobs in a Kubernetes cluster. Every option has a variable: "
        "--log-level is DSJ_OPERATOR_LOG_LEVEL. The cluster is the pod's own, or the one that KUBECONFIG names.",
        exit_on_error=False,
    )
    defaults = Settings()
    for one in fields(Settings):
        shown = _shown(getattr(defaults, one.name))
        parser.add_argument(
            "--" + one.name.replace("_", "-"), metavar="X", help=f"{HELP[one.name]} (default: {shown or 'empty'})"
        )
    try:
        given, unknown = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        raise SettingsError(str(error)) from error
    if unknown:
        raise SettingsError(f"unknown option {unknown[0]}: see --help")
    values: dict[str, Any] = {}
    for one in fields(Settings):
        text, source = getattr(given, one.name), "--" + one.name.replace("_", "-")
        if text is None:
            source = PREFIX + one.name.upper()
            text = environment.get(source)
        if text is not None:
            values[one.name] = _READERS[one.name](text.strip(), source)
    settings = Settings(**values)
    if not settings.etcd:
        raise SettingsError(f"{PREFIX}ETCD is empty: host:port of at least one etcd member")
    return settings


def process_identity() -> str:
    """A name that no other process ever had."""
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _names(text: str, source: str) -> tuple[str, ...]:
    names = _parts(text)
    for name in names:
        _label(name, source)
    return names


def _label(text: str, source: str) -> str:
    if text and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", text):
        raise SettingsError(f"{source}: {text!r} is no name: small letters, digits and '-', at most 63")
    return text


def _install(text: str, source: str) -> str:
    if not text:
        raise SettingsError(f"{source} is empty: a name, such as that of the helm release")
    return _label(text, source)


def _text(text: str, source: str) -> str:
    return text


def _endpoints(text: str, source: str) -> tuple[str, ...]:
    found = _parts(text)
    for one in found:
        bare = one.removeprefix("https://").removeprefix("http://").rstrip("/")
        if not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}", bare):
            raise SettingsError(f"{source}: {one!r} is no endpoint: host:port, such as etcd-0.etcd:2379")
    return tuple(one.removeprefix("https://").removeprefix("http://").rstrip("/") for one in found)


def _folder(text: str, source: str) -> Path | None:
    if not text:
        return None
    path = Path(text)
    missing = [name for name in ("ca.crt", "tls.crt", "tls.key") if not (path / name).is_file()]
    if missing:
        raise SettingsError(f"{source}: {path} has no {', '.join(missing)}: mount the Secret with etcd's certificates")
    return path


def _file(text: str, source: str) -> Path | None:
    if not text:
        return None
    if not Path(text).is_file():
        raise SettingsError(f"{source}: there is no file {text}: mount the Secret that has it")
    return Path(text)


def _secrets(text: str, source: str) -> tuple[str, ...]:
    names = _parts(text)
    for name in names:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", name):
            right = "small letters, digits, '-' and '.'"
            raise SettingsError(f"{source}: {name!r} is no name of a Secret or claim: {right}")
    return names


def _labels(text: str, source: str) -> tuple[tuple[str, str], ...]:
    found = []
    for part in _parts(text):
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise SettingsError(f"{source}: {part!r} is no label: KEY=VALUE, such as app.kubernetes.io/instance=dsj")
        found.append((key, value))
    return tuple(found)


def _ports(text: str, source: str) -> tuple[int, ...]:
    port = _count(1, 65535)
    return tuple(port(part, source) for part in _parts(text))


def _user(text: str, source: str) -> int | None:
    return _count(1, 2**31 - 1)(text, source) if text else None


def _switch(text: str, source: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise SettingsError(f"{source}: {text!r}: true or false")
    return text.lower() == "true"


def _count(least: int, most: int) -> Callable[[str, str], int]:
    def read(text: str, source: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise SettingsError(f"{source}: {text!r}: a whole number from {least} to {most}")
        return int(text)

    return read


def _amount(text: str, source: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.01 <= value <= 1e6:
        raise SettingsError(f"{source}: {text!r}: a number above 0")
    return value


def _one_of(*allowed: str) -> Callable[[str, str], str]:
    def read(text: str, source: str) -> str:
        found = next((one for one in allowed if one.lower() == text.lower()), None)
        if found is None:
            raise SettingsError(f"{source}: {text!r}: one of {', '.join(allowed)}")
        return found

    return read


_READERS: dict[str, Callable[[str, str], Any]] = {
    "watch_namespaces": _names,
    "namespace": _label,
    "own_secrets": _secrets,
    "own_claims": _secrets,
    "own_labels": _labels,
    "install": _install,
    "identity": _text,
    "image": _text,
    "pull_policy": lambda text, source: _one_of("Always", "IfNotPresent", "Never")(text, source) if text else "",
    "pull_secrets": _secrets,
    "run_as": _user,
    "node_lost_seconds": _count(0, 86_400),
    "network_policies": _switch,
    "open_ports": _ports,
    "etcd": _endpoints,
    "etcd_certificates": _folder,
    "credentials": _folder,
    "store_uri": _text,
    "store_key": _file,
    "store_ca": _file,
    "workers": _count(1, 256),
    "requests_per_second": _amount,
    "progress_per_second": _amount,
    "resync_seconds": _amount,
    "drain_seconds": _amount,
    "port": _count(0, 65535),
    "log": _one_of("auto", "json", "text"),
    "log_level": _one_of("DEBUG", "INFO", "WARNING", "ERROR"),
}
