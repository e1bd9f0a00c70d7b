"""The chart's own store, asked in a job's name before any of its pods is made: whether it lets the job in, and has
what `restoreFrom: job://NAME` names. Of other storages only the members' image knows how to ask.

WebDAV by the standard library: one or two PROPFINDs. A store that does not answer keeps nobody from starting: the
members wait for it, and say so.
"""

import base64
import http.client
import logging
import re
import ssl
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from deepseek_operator.api.job import DeepseekJob
from deepseek_operator.api.storage import job_named
from deepseek_operator.executors.render.parts import Owner
from deepseek_operator.executors.render.settings import Rendering
from deepseek_operator.reconcile.observe import Obstacle
from deepseek_runtime.contract.store import job_folder, password_of, user_of

logger = logging.getLogger(__name__)

SECONDS: Final = 5.0
"""For each answer."""
LONGEST: Final = 16 << 20
"""Bytes of a listing that are read."""
_SCHEMES: Final = {
    "webdav": "http",
    "webdavs": "https",
    "dav": "http",
    "davs": "https",
    "http": "http",
    "https": "https",
}
_ASKED: Final = b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>'
_INDEX: Final = re.compile(r"([^/]+)/t\d+/step-\d+/index\.json")
_MOST_NAMES: Final = 20


class _NoAnswer(Exception):
    """It does not answer, or not with what WebDAV says."""


class _Refused(Exception):
    """It does not know the job, or its password."""


def is_ours(job: DeepseekJob, settings: Rendering) -> bool:
    """Whether the job's checkpoints go to the chart's own store, and this module knows how to ask it."""
    storage = job.spec.checkpoint.storage
    named = storage.uri is not None or storage.pvc is not None
    return not named and bool(settings.store_key) and urlsplit(settings.store_uri).scheme in _SCHEMES


def look_in_store(job: DeepseekJob, owner: Owner, settings: Rendering) -> Obstacle | None:
    """What keeps the job from beginning; None: nothing, or it cannot be told."""
    if not is_ours(job, settings):
        return None
    try:
        asked = _Store(owner, settings)
        asked.list(job_folder(owner.namespace, owner.name, owner.uid), "0")
        name = job_named(job.spec.checkpoint.restore_from or "")
        return None if name is None else _nothing_stored(asked, owner, name)
    except _Refused:
        where = settings.store_uri
        return Obstacle(
            "StoreRefuses",
            f"the installation's store {where} does not take the password that this operator gives the job (401): the "
            "two are of different versions, or have different keys",
            "Bring both to one version with helm upgrade, then restart the store's pod; the job goes on by itself",
        )
    except _NoAnswer as error:
        logger.info("the store cannot be asked now, its members will: %s", error)
        return None


def _nothing_stored(asked: "_Store", owner: Owner, name: str) -> Obstacle | None:
    folder = f"{owner.namespace}/{name}/"
    for path in asked.list(folder.rstrip("/"), "infinity"):
        index = _INDEX.fullmatch(path.removeprefix(folder))
        if index is not None and index[1] != owner.uid:
            return None
    others = sorted({path.split("/")[1] for path in asked.list(owner.namespace, "1") if path.count("/") == 1})
    there = ", ".join([one for one in others if one not in (owner.name, name)][:_MOST_NAMES])
    return Obstacle(
        "NothingToRestore",
        f"spec.checkpoint.restoreFrom is job://{name}, and no job {name} of the namespace {owner.namespace} has a "
        f"checkpoint in the installation's store{f'; jobs with a folder there: {there}' if there else ''}",
        "Mend the name, leave restoreFrom out to begin anew, or wait until that job has saved: this one then begins",
    )


class _Store:
    def __init__(self, owner: Owner, settings: Rendering) -> None:
        user = user_of(owner.namespace, owner.name, owner.uid)
        password = password_of(settings.store_key, user)
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._parts = urlsplit(settings.store_uri)
        self._authority = settings.store_ca

    def list(self, folder: str, depth: str) -> Iterable[str]:
        """Paths in it, without slashes around them; nothing where there is no such folder."""
        root = unquote(self._parts.path).strip("/")
        path = f"{root}/{folder}".strip("/")
        headers = {"Authorization": self._authorization, "Depth": depth, "Content-Type": "application/xml"}
        connection = self._connection()
        try:
            connection.request("PROPFIND", "/" + quote(path) + "/", body=_ASKED, headers=headers)
            answer = connection.getresponse()
            content = answer.read(LONGEST + 1)
        except (OSError, http.client.HTTPException) as error:
            raise _NoAnswer(f"{self._parts.netloc}: {error!r}") from error
        finally:
            connection.close()
        if len(content) > LONGEST:  # of half a listing it cannot be said what is not in it
            raise _NoAnswer(f"{self._parts.netloc}: a listing of more than {LONGEST} bytes")
        if answer.status == 401:
            raise _Refused
        if answer.status == 404:
            return []
        if answer.status != 207:
            raise _NoAnswer(f"{self._parts.netloc}: {answer.status} {answer.reason}")
        found = re.findall(r"<(?:\w+:)?href>([^<]*)</", content.decode("utf-8", "replace"))
        paths = [unquote(urlsplit(href).path).strip("/") for href in found]
        return [inside for one in paths if (inside := one.removeprefix(root).strip("/")) and one != path]

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if _SCHEMES[self._parts.scheme] == "http":
            return http.client.HTTPConnection(host, port, timeout=SECONDS)
        try:
            trusted = ssl.create_default_context(cadata=self._authority or None)
        except (ssl.SSLError, ValueError) as error:
            raise _NoAnswer(f"the store's authority cannot be read: {error}") from error
        return http.client.HTTPSConnection(host, port, timeout=SECONDS, context=trusted)
