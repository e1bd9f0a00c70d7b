"""What an administrator tells the operator: options and variables, and what is said of those that cannot be used."""

from pathlib import Path

import pytest

from deepseek_operator.settings import Settings, SettingsError, read_settings

P = "DSJ_OPERATOR_"


def test_nothing_is_needed() -> None:
    assert read_settings([], {}) == Settings()


def test_an_option_wins_over_its_variable() -> None:
    assert read_settings(["--image", "a:1"], {P + "IMAGE": "b:1"}).image == "a:1"
    assert read_settings([], {P + "IMAGE": "b:1"}).image == "b:1"


def test_what_the_chart_says_of_members(tmp_path: Path) -> None:
    (tmp_path / "store.key").write_bytes(b"k" * 32)
    (tmp_path / "ca.crt").write_text("PEM")
    given = {
        "PULL_POLICY": "IfNotPresent", "PULL_SECRETS": "a, b.c", "RUN_AS": "", "NODE_LOST_SECONDS": "30",
        "NETWORK_POLICIES": "false", "OPEN_PORTS": "443,9000", "STORE_URI": "webdavs://store:8443",
        "STORE_KEY": str(tmp_path / "store.key"), "STORE_CA": str(tmp_path / "ca.crt"),
    }  # fmt: skip
    settings = read_settings([], {P + name: value for name, value in given.items()})
    assert (settings.pull_policy, settings.pull_secrets, settings.run_as) == ("IfNotPresent", ("a", "b.c"), None)
    assert (settings.node_lost_seconds, settings.network_policies, settings.open_ports) == (30, False, (443, 9000))
    assert (settings.store_key, settings.store_ca) == (tmp_path / "store.key", tmp_path / "ca.crt")
    empty = read_settings([], {P + name: "" for name in ("PULL_POLICY", "PULL_SECRETS", "OPEN_PORTS", "STORE_KEY")})
    assert (empty.pull_policy, empty.pull_secrets, empty.open_ports, empty.store_key) == ("", (), (), None)


@pytest.mark.parametrize(
    "name,value,words",
    [
        ("RUN_AS", "0", "a whole number from 1"),
        ("RUN_AS", "root", "a whole number from 1"),
        ("NETWORK_POLICIES", "yes", "true or false"),
        ("OPEN_PORTS", "80,http", "a whole number from 1"),
        ("PULL_POLICY", "Sometimes", "one of Always, IfNotPresent, Never"),
        ("PULL_SECRETS", "A B", "no name of a Secret"),
        ("STORE_KEY", "/nowhere/store.key", "there is no file"),
        ("ETCD", "etcd", "no endpoint"),
        ("ETCD", " ", "ETCD is empty"),
        ("WORKERS", "0", "a whole number from 1"),
    ],
)
def test_what_cannot_be_used(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        read_settings([], {P + name: value})
    assert P + name in str(refused.value)
