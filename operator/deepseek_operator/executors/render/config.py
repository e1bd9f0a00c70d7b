"""The config document of a job and generation of intent, as an immutable ConfigMap: nothing in it ever changes."""

from collections.abc import Iterable

from deepseek_operator.api.config import job_config
from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.executors.render.folders import CODE, DATA
from deepseek_operator.executors.render.parts import Manifest, Owner, part_metadata
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.executors.render.storage import Storage
from deepseek_runtime.contract.config import EtcdTls, JobConfig, Timing
from deepseek_runtime.contract.names import ANNOTATION_IMAGE, ANNOTATION_PULL_SECRETS, SERVER_PORT

FILE = "config.json"


def cluster_config(
    job: DeepseekJob,
    owner: Owner,
    settings: Rendering,
    storage: Storage,
    *,
    generation: str,
    code: bool,
    timing: Timing | None = None,
) -> JobConfig:
    """What members of this generation read. code: whether they find the user's own under its path."""
    config = job_config(
        job,
        uid=owner.uid,
        generation=generation,
        etcd=settings.etcd,
        etcd_tls=EtcdTls() if settings.etcd_tls else None,
        checkpoint_uri_default=storage.uri,
        code_dir=CODE if code else None,
        bind=f"tcp://0.0.0.0:{SERVER_PORT}",
        data_dir=DATA,
        install=settings.install,
        timing=timing,
    )
    return config.model_copy(update={"keep_journals": True})  # a pod's folder ends with it


def config_map(owner: Owner, config: JobConfig, image: str = "", pull_secrets: Iterable[str] = ()) -> Manifest:
    """image, pull_secrets: of its members, for whoever reads what they stored when no pod of theirs is left."""
    about = part_metadata(owner, f"config-{config.generation}", "config")
    about["annotations"] = {ANNOTATION_IMAGE: image, ANNOTATION_PULL_SECRETS: ",".join(pull_secrets)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": about,
        "immutable": True,
        "data": {FILE: config.model_dump_json(indent=1)},
    }
