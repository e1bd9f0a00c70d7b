"""Who sees what in the chart's store."""

import base64
from pathlib import Path
from typing import Any

import pytest

from deepseek_runtime.contract.store import password_of as password
from deepseek_runtime.contract.store import user_of
from deepseek_runtime.store_server import Guard, home_of, may

KEY = b"k" * 32
UID = "5a1c8f6e-0000-4000-8000-000000000001"
OTHER = "5a1c8f6e-0000-4000-8000-000000000002"
USER = user_of("team-a", "digits.v2", UID)
HOME = f"team-a/digits.v2/{UID}"


@pytest.mark.parametrize(
    "path,rights",
    [
        (f"/{HOME}", "rw"),
        (f"/{HOME}/", "rw"),
        (f"/{HOME}/t1/step-0/index.json", "rw"),
        (f"/{HOME.replace('/', '//')}//x", "rw"),
        ("/team-a", "r"),
        ("/team-a/digits.v2", "r"),
        (f"/team-a/digits.v2/{OTHER}/x", "r"),
        (f"/team-a/other/{UID}/x", "r"),
        (f"/{HOME}x/y", "r"),
        ("/", ""),
        ("", ""),
        (f"/team-b/digits.v2/{UID}/x", ""),
        ("/team-ab/x", ""),
        (f"/{UID}", ""),
        (f"/{HOME}/../{OTHER}/x", ""),
        ("/team-a/../team-b/x", ""),
        (f"/{HOME}/./x", ""),
        (f"/{HOME}/..\\{OTHER}", ""),
        (f"/{HOME}/a\0b", ""),
    ],
)
def test_what_a_job_may(path: str, rights: str) -> None:
    assert home_of(USER) == HOME
    assert (may(HOME, path, write=False), may(HOME, path, write=True)) == ("r" in rights, "w" in rights)


def test_admin_may_everything_that_is_no_trick() -> None:
    assert home_of("admin") == ""
    assert may("", f"/{HOME}/x", write=True)
    assert may("", "/", write=True)
    assert not may("", "/../etc", write=False)


@pytest.mark.parametrize(
    "user",
    ["", UID, f"digits.{UID}", f"..digits.{UID}", f"a/b.digits.{UID}", f"team-a.../x.{UID}", "team-a.digits.", ".."],
)
def test_nobody_s_name(user: str) -> None:
    assert home_of(user) is None


def test_passwords_differ_by_user_and_key() -> None:
    assert password(KEY, UID) == password(KEY, UID) != password(KEY, OTHER)
    assert password(b"l" * 32, UID) != password(KEY, UID)


WRITING = ("PUT", "DELETE", "MKCOL", "MOVE", "COPY", "PROPPATCH", "LOCK", "UNLOCK", "POST", "PATCH", "put", "")


def basic(user: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


@pytest.mark.parametrize(
    "method,path,status,headers",
    [
        ("GET", f"/{HOME}/a", "200", {}),
        ("PUT", f"/{HOME}/a", "200", {}),
        ("PROPFIND", "/team-a/digits.v2", "200", {}),
        ("HEAD", f"/team-a/other/{OTHER}/a", "200", {}),
        *((method, f"/team-a/other/{OTHER}/a", "403", {}) for method in WRITING),
        *((method, "/team-a/digits.v2", "403", {}) for method in WRITING),
        *((method, f"/team-b/digits.v2/{UID}/a", "403", {}) for method in ("GET", "PROPFIND", "OPTIONS", *WRITING)),
        ("PROPFIND", "/", "403", {}),
        ("MKCOL", "/team-a", "401", {"HTTP_AUTHORIZATION": ""}),
        ("GET", f"/{HOME}/a", "401", {"HTTP_AUTHORIZATION": basic(USER, "guess")}),
        ("GET", f"/{HOME}/a", "401", {"HTTP_AUTHORIZATION": basic(USER, "")}),
        ("GET", f"/{HOME}/a", "401", {"HTTP_AUTHORIZATION": "Basic !!"}),
        ("GET", f"/{HOME}/a", "401", {"HTTP_AUTHORIZATION": f"Bearer {password(KEY, USER)}"}),
        ("GET", f"/{HOME}/a", "401", {"HTTP_AUTHORIZATION": basic(USER, password(KEY, USER.replace("-a", "-b")))}),
        ("GET", "/../a", "401", {"HTTP_AUTHORIZATION": basic("..", password(KEY, ".."))}),
        ("MOVE", f"/{HOME}/a", "200", {"HTTP_DESTINATION": f"https://store/{HOME}/b"}),
        ("MOVE", f"/{HOME}/a", "403", {"HTTP_DESTINATION": f"https://store/team-a/digits.v2/{OTHER}/a"}),
        ("COPY", f"/{HOME}/a", "403", {"HTTP_DESTINATION": f"/{HOME}/%2e%2e/{OTHER}/a"}),
        ("MOVE", f"/team-a/other/{OTHER}/a", "403", {"HTTP_DESTINATION": f"/{HOME}/a"}),
    ],
)
def test_guard(method: str, path: str, status: str, headers: dict[str, str], tmp_path: Path) -> None:
    answered: list[str] = []

    def start(line: str, _: Any) -> None:
        answered.append(line)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    request = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_AUTHORIZATION": basic(USER, password(KEY, USER))}
    list(Guard(app, tmp_path, KEY)({**request, **headers}, start))
    assert answered[0].startswith(status)
    assert [str(made.relative_to(tmp_path)) for made in tmp_path.glob("*/*/*")] == ([HOME] if status == "200" else [])
