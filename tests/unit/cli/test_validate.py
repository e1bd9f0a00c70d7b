"""`dsj validate`: text for people, JSON for programs, exit codes for scripts."""

import json
import os
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from builders.manifests import RIGHT, with_spec, with_training
from deepseek_operator.cli.validate import validate
from deepseek_runtime.contract.exit_codes import CONFIG, MISSING_INPUT, OK


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_right_manifest(folder: Path) -> None:
    (folder / "job.yaml").write_text(with_spec("image: x"))
    result = CliRunner().invoke(validate, ["job.yaml"])
    assert result.exit_code == OK
    assert result.output == (
        "job.yaml: digits is right: 1 server, 1 worker, deepseek_runtime.tasks.digits:Digits, 100 steps of 32 samples\n"
        "  on one machine these are ignored: spec.image\n"
        "next: dsj run job.yaml\n"
    )


def test_a_wrong_manifest(folder: Path) -> None:
    (folder / "job.yaml").write_text(with_training("batch_size: 32", "seed: -1"))
    result = CliRunner().invoke(validate, ["job.yaml"])
    assert result.exit_code == CONFIG
    assert result.output == (
        "job.yaml:9: spec.training.batch_size: is not a known field; did you mean batchSize?\n"
        "job.yaml:10: spec.training.seed: -1 is too small; right: a whole number from 0 to 4294967295\n"
        "job.yaml: 2 problems; nothing was started\n"
    )


def test_json_has_the_same(folder: Path) -> None:
    (folder / "good.yaml").write_text(RIGHT)
    (folder / "bad.yaml").write_text(with_training('batchSize: "32"'))
    result = CliRunner().invoke(validate, ["good.yaml", "bad.yaml", "-o", "json"])
    assert result.exit_code == CONFIG
    answer = json.loads(result.output)
    assert answer["valid"] is False
    good, bad = answer["files"]
    assert (good["job"], good["problems"]) == ("digits", [])
    assert bad["job"] is None
    assert bad["problems"] == [
        {
            "kind": "type",
            "field": "spec.training.batchSize",
            "message": '"32" is text because of its quotes',
            "right": "a whole number from 1 to 1000000",
            "value": '"32"',
            "see": "",
            "file": "bad.yaml",
            "line": 9,
            "column": 5,
        }
    ]


def test_a_missing_manifest(folder: Path) -> None:
    result = CliRunner().invoke(validate, ["job.yaml"])
    assert result.exit_code == MISSING_INPUT
    assert result.output.startswith("job.yaml: cannot be read: No such file or directory")


def test_standard_input(folder: Path) -> None:
    result = CliRunner().invoke(validate, ["-"], input=RIGHT)
    assert result.exit_code == OK
    assert CliRunner().invoke(validate, ["-"], input="a: [").output.startswith("<stdin>:1: cannot be read as YAML")


def test_standard_input_that_is_no_text(folder: Path) -> None:
    result = CliRunner().invoke(validate, ["-"], input=b"a: b\nc: \xff")
    assert result.exit_code == CONFIG
    assert result.output.startswith("<stdin>:2: is not UTF-8 text")


def test_a_pipe_and_a_device_are_not_waited_for(folder: Path) -> None:
    os.mkfifo("pipe")
    result = CliRunner().invoke(validate, ["pipe", "/dev/zero"])
    assert result.exit_code == CONFIG
    assert "pipe:" in result.output
    assert "/dev/zero: is larger than 4 MiB" in result.output


def test_a_pipe_that_is_written_to_is_read(folder: Path) -> None:
    """`dsj validate <(helm template ...)`"""
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)  # so that the writer may open it
    with open("pipe", "w") as writer:
        writer.write(RIGHT)
        writer.flush()
        threading.Timer(0.1, writer.close).start()
        result = CliRunner().invoke(validate, ["pipe"])
    os.close(reader)
    assert result.exit_code == OK, result.output


def test_half_a_character_anywhere_is_told_and_printed(folder: Path) -> None:
    for name, text in (("kind", RIGHT.replace("DeepseekJob", '"\\ud800"')), ("seed", with_training('seed: "\\udcff"'))):
        (folder / "job.yaml").write_text(text)
        done = [CliRunner().invoke(validate, ["job.yaml", "-o", form]) for form in ("text", "json")]
        assert [one.exit_code for one in done] == [CONFIG, CONFIG]
        assert f"{name}: holds" in done[0].output


def test_the_store_is_reached_only_when_asked(folder: Path) -> None:
    (folder / "file").write_text("")
    (folder / "job.yaml").write_text(with_spec("checkpoint: {storage: {uri: file/inside}}"))
    assert CliRunner().invoke(validate, ["job.yaml"]).exit_code == OK
    result = CliRunner().invoke(validate, ["job.yaml", "--check-store"])
    assert result.exit_code == MISSING_INPUT
    assert f'spec.checkpoint.storage.uri: "file://{folder}'[:40] in result.output
    assert "cannot be written: " in result.output
    assert not (folder / "inside").exists()
