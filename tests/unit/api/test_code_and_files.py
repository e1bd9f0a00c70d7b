"""What a manifest names beside itself: code, ConfigMaps, checkpoints. All of it relative to the manifest."""

import os
from pathlib import Path

import pytest

from builders.manifests import HEAD, RIGHT, with_spec, with_training
from deepseek_operator.api import user_code
from deepseek_operator.api.config import restored_from
from deepseek_operator.api.load import Manifest, load_manifest, parse_manifest
from deepseek_operator.api.problems import ManifestError
from deepseek_operator.api.user_code import UserCode
from deepseek_runtime.contract.exit_codes import CONFIG, MISSING_INPUT

SCRIPT = HEAD + "  training:\n    script: train.py\n    steps: 10\n"
CONFIG_MAP = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: my-code}\ndata:\n  train.py: |\n    print(1)\n"


def load(folder: Path, text: str) -> Manifest:
    (folder / "job.yaml").write_text(text, encoding="utf-8")
    return load_manifest(folder / "job.yaml")


def refused(folder: Path, text: str, code: int = MISSING_INPUT) -> str:
    with pytest.raises(ManifestError) as caught:
        load(folder, text)
    assert caught.value.exit_code == code
    return str(caught.value).replace(f"{folder}/", "")


def test_a_script_beside_the_manifest_needs_no_code_section(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("x")
    manifest = load(tmp_path, SCRIPT)
    assert manifest.code is not None
    assert manifest.code.files["train.py"] == b"x"


def test_a_script_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "trian.py").write_text("x")
    assert refused(tmp_path, SCRIPT) == (
        'job.yaml:7: spec.training.script: "train.py" does not exist; did you mean trian.py?; '
        "right: a Python file in the code's folder, named relative to it"
    )


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert refused(tmp_path, SCRIPT + "    code: {folder: src}\n") == (
        'job.yaml:9: spec.training.code.folder: "src" does not exist; right: a folder, relative to the manifest'
    )
    (tmp_path / "src").write_text("")
    assert '"src" is a file, not a folder' in refused(tmp_path, SCRIPT + "    code: {folder: src}\n")


def test_a_folder_is_relative_to_the_manifest_and_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text("x")
    manifest = load(tmp_path, SCRIPT + "    code: {folder: src}\n")
    assert manifest.job.spec.training.code is not None
    assert manifest.job.spec.training.code.folder == str(tmp_path / "src")


def test_a_config_map_of_the_same_file_is_the_code(tmp_path: Path) -> None:
    manifest = load(tmp_path, SCRIPT + "    code: {configMap: my-code}\n" + CONFIG_MAP)
    assert manifest.code == UserCode({"train.py": b"print(1)\n"})


def test_a_config_map_that_is_not_in_the_file(tmp_path: Path) -> None:
    assert refused(tmp_path, SCRIPT + "    code: {configMap: my-cod}\n" + CONFIG_MAP) == (
        'job.yaml:9: spec.training.code.configMap: "my-cod" is no ConfigMap of this file; did you mean my-code?; '
        "right: on one machine, a ConfigMap document of that name in the same file, or code.folder"
    )


@pytest.mark.parametrize(
    "data,message",
    [
        ("  ../x.py: a\n", 'job.yaml:15: data["../x.py"]: "../x.py" is no file\'s name; right: as train.py'),
        ("  ..: a\n", 'job.yaml:15: data[".."]: ".." is no file\'s name; right: as train.py'),
        ("  size: 3\n", "job.yaml:15: data.size: 3 is not text; right: put it in quotes"),
    ],
)
def test_a_config_map_that_kubernetes_would_refuse(tmp_path: Path, data: str, message: str) -> None:
    text = SCRIPT + "    code: {configMap: my-code}\n" + CONFIG_MAP.replace("  train.py: |\n    print(1)\n", data)
    assert refused(tmp_path, text, CONFIG) == message


def test_a_manifest_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").write_text(RIGHT)
    with pytest.raises(ManifestError) as caught:
        load_manifest(tmp_path / "digit.yaml")
    assert caught.value.exit_code == MISSING_INPUT
    assert str(caught.value) == (
        f"{tmp_path}/digit.yaml: cannot be read: No such file or directory; "
        f"right: a manifest; did you mean {tmp_path}/digits.yaml?"
    )


def test_a_manifest_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_bytes(b"a: b\nc: \xff\n")
    with pytest.raises(ManifestError, match=r"job.yaml:2: is not UTF-8 text \(byte 0xff\); right: text in UTF-8"):
        load_manifest(tmp_path / "job.yaml")


def test_a_checkpoint_that_does_not_exist(tmp_path: Path) -> None:
    assert refused(tmp_path, with_spec("checkpoint: {restoreFrom: old}")) == (
        'job.yaml:9: spec.checkpoint.restoreFrom: "old" does not exist; '
        "right: a folder of checkpoints, or an index.json in it"
    )


def test_a_job_is_named_where_one_begins_from_it(tmp_path: Path) -> None:
    job = load(tmp_path, with_spec("checkpoint: {restoreFrom: 'job://old'}")).job
    assert job.spec.checkpoint.restore_from == "job://old"
    assert restored_from("job://old", "file:///state/digits/checkpoints") == "file:///state/old/checkpoints"
    assert restored_from("job://old", "s3://bucket/ml/digits/a-uid") == "s3://bucket/ml/old"
    assert restored_from("s3://bucket/x", "s3://bucket/ml/digits/a-uid") == "s3://bucket/x"
    assert restored_from(None, "s3://bucket/ml/digits/a-uid") is None


def test_paths_of_checkpoints_become_uris(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    manifest = load(tmp_path, with_spec("checkpoint: {restoreFrom: ./old, storage: {uri: new}}"))
    assert manifest.job.spec.checkpoint.restore_from == f"file://{tmp_path}/old"
    assert manifest.job.spec.checkpoint.storage.uri == f"file://{tmp_path}/new"


def test_a_missing_file_beside_a_wrong_value_is_a_wrong_manifest(tmp_path: Path) -> None:
    message = refused(tmp_path, with_spec("checkpoint: {restoreFrom: old, keep: 0}"), CONFIG)
    assert len(message.splitlines()) == 2


def test_what_only_a_cluster_reads_is_noted_not_refused(tmp_path: Path) -> None:
    text = with_spec("image: x", "workers: {resources: {limits: {cpu: 2}}}") + "---\nkind: Secret\n"
    assert load(tmp_path, text).notes == (
        "on one machine this is ignored: Secret in line 12",
        "on one machine these are ignored: spec.image, spec.workers.resources",
    )


def test_what_a_script_does_not_use_is_noted(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("x")
    manifest = load(tmp_path, SCRIPT + "    optimizer: {name: sgd, lr: 1, schedule: cosine}\n")
    unused = "spec.training.optimizer.name, spec.training.optimizer.lr"
    assert manifest.notes == (f"the script's own optimizer steps, so these are not used: {unused}",)


def test_what_kubectl_prints_is_a_manifest(tmp_path: Path) -> None:
    text = RIGHT.replace("  name: digits\n", "  name: digits\n  uid: abc\n  managedFields: [{manager: kubectl}]\n")
    assert load(tmp_path, text + "status: {phase: Running}\n").job.name == "digits"


def test_the_digest_is_of_names_and_contents_alone(tmp_path: Path) -> None:
    for folder, order in (("a", ("x.py", "y.py")), ("b", ("y.py", "x.py"))):
        (tmp_path / folder / "__pycache__").mkdir(parents=True)
        (tmp_path / folder / ".git").mkdir()
        (tmp_path / folder / ".git" / "HEAD").write_text(folder)
        (tmp_path / folder / "__pycache__" / "x.pyc").write_text(folder)
        for name in order:
            (tmp_path / folder / name).write_text(name)
    a, b = (user_code.read_folder(tmp_path / name) for name in "ab")
    assert a.digest == b.digest
    assert UserCode({"x.py": b"x", "y.py": b""}).digest != UserCode({"x.py": b"", "y.py": b"x"}).digest


def test_placed_code_is_named_by_its_digest_and_placed_once(tmp_path: Path) -> None:
    code = UserCode({"pack/age.py": b"1"})
    place = code.place(tmp_path / "state")
    assert (place / "pack" / "age.py").read_bytes() == b"1"
    assert code.place(tmp_path / "state") == place
    assert [entry.name for entry in (tmp_path / "state").iterdir()] == [f"code-{code.digest[:12]}"]


def test_a_folder_of_data_is_not_taken_for_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_code, "MAX_FILES", 2)
    for name in ("train.py", "a", "b"):
        (tmp_path / name).write_text("")
    message = refused(tmp_path, SCRIPT, CONFIG)
    assert "holds more than 16 MiB or 2 files; right: code: {folder: ...} with nothing but code in it" in message


def test_a_task_needs_no_code(tmp_path: Path) -> None:
    assert load(tmp_path, with_training("seed: 1")).code is None


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """A file of such a name is copied as it is; a folder's cannot be written down, which is said."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff"))
    (odd / "src").mkdir(parents=True)
    (odd / "src" / "train.py").write_text("")
    with pytest.raises(ManifestError, match=r"has a name that is no UTF-8; right: a folder whose path is UTF-8"):
        parse_manifest(SCRIPT + "    code: {folder: src}\n", "job.yaml", odd)
    placed = user_code.read_folder(tmp_path).place(tmp_path / "state")
    assert os.listdir(os.fsencode(placed)) == [b"odd\xff"]
