"""What a member needs in a pod: an address that others can dial, credentials beside the keys, kernels of its image."""

import json
from pathlib import Path

import pytest

from deepseek_runtime.compression.jit import seed
from deepseek_runtime.contract.config import Checkpoint, ConfigError, JobConfig, Training, with_secret_options
from deepseek_runtime.edge.process import Exit, published


@pytest.mark.parametrize(
    "bound,ip,address",
    [
        ("tcp://127.0.0.1:7077", "", "tcp://127.0.0.1:7077"),
        ("tcp://127.0.0.1:7077", "10.1.0.7", "tcp://127.0.0.1:7077"),
        ("tcp://0.0.0.0:7077", "10.1.0.7", "tcp://10.1.0.7:7077"),
        ("tcp://[::]:7077", "10.1.0.7", "tcp://10.1.0.7:7077"),
        ("tcp://0.0.0.0:7077", "fd00::7", "tcp://[fd00::7]:7077"),
    ],
)
def test_published(bound: str, ip: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSJ_POD_IP", ip)
    assert published(bound) == address


def test_no_address_that_others_can_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DSJ_POD_IP", raising=False)
    with pytest.raises(Exit, match="DSJ_POD_IP must say") as refused:
        published("tcp://0.0.0.0:7077")
    assert refused.value.record.code == 78


def config() -> JobConfig:
    checkpoint = Checkpoint(uri="webdav://store/u1", storage_options={"timeout": 5, "auth": ["a", "old"]})
    return JobConfig(
        job="digits", uid="u1", etcd=("e:1",), training=Training(task="a:B", steps=1), checkpoint=checkpoint
    )


def test_credentials_beside_the_keys(tmp_path: Path) -> None:
    assert with_secret_options(config(), "") == with_secret_options(config(), tmp_path) == config()
    (tmp_path / "storage.json").write_text(json.dumps({"auth": ["u1", "secret"]}))
    merged = with_secret_options(config(), tmp_path)
    assert merged.checkpoint.storage_options == {"timeout": 5, "auth": ["u1", "secret"]}


@pytest.mark.parametrize("text", ["[1]", "{", '"x"'])
def test_credentials_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "storage.json").write_text(text)
    with pytest.raises(ConfigError, match=r"storage\.json"):
        with_secret_options(config(), tmp_path)


def test_kernels_of_the_image(tmp_path: Path) -> None:
    image, cache = tmp_path / "image", tmp_path / "cache"
    (image / "part").mkdir(parents=True)
    (image / "part" / "a.nbi").write_bytes(b"kernel")
    assert not seed("", str(cache))
    assert not seed(str(tmp_path / "missing"), str(cache))
    assert seed(str(image), str(cache))
    assert (cache / "part" / "a.nbi").read_bytes() == b"kernel"
    (image / "part" / "b.nbi").write_bytes(b"newer")
    assert not seed(str(image), str(cache)), "what is there is left alone"
