"""Who sees what in the chart's store."""

import base64
from pathlib import Path
from typing import Any

import pytest

from deepseek_runtime.contract.store import password_of as password
from deepseek_runtime.store_server import Guard, own_folder

KEY = b"k" * 32
UID = "5a1c8f6e-0000-4000-8000-000000000001"
OTHER = "5a1c8f6e-0000-4000-8000-000000000002"


@pytest.mark.parametrize(
    "path,own",
    [
        (f"/{UID}", UID),
        (f"/{UID}/", UID),
        (f"/{UID}/checkpoints/index.json", UID),
        (f"//{UID}//x", UID),
        ("/", None),
        (f"/{OTHER}/x", None),
        (f"/{UID}/../{OTHER}/x", None),
        (f"/{UID}/./x", None),
        (f"/{OTHER}/{UID}", None),
        (f"/team-a/{UID}", None),
        (f"/team-a/digits/{UID}", None),
        (f"/{UID}x/y", None),
        (f"/{UID}/..\\{OTHER}", None),
        (f"/{UID}/a\0b", None),
    ],
)
def test_own_folder(path: str, own: str | None) -> None:
    assert own_folder(UID, path) == own


def test_admin_owns_everything_that_is_no_trick() -> None:
    assert own_folder("admin", f"/{OTHER}/x") == ""
    assert own_folder("admin", "/../etc") is None


def test_passwords_differ_by_user_and_key() -> None:
    assert password(KEY, UID) == password(KEY, UID) != password(KEY, OTHER)
    assert password(b"l" * 32, UID) != password(KEY, UID)


def basic(user: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


@pytest.mark.parametrize(
    "path,status,headers",
    [
        (f"/{UID}/a", "200", {"HTTP_AUTHORIZATION": basic(UID, password(KEY, UID))}),
        ("/team-a", "401", {"REQUEST_METHOD": "MKCOL"}),
        (f"/{UID}/a", "401", {}),
        (f"/{UID}/a", "401", {"HTTP_AUTHORIZATION": basic(UID, "guess")}),
        (f"/{UID}/a", "401", {"HTTP_AUTHORIZATION": basic(UID, "")}),
        (f"/{UID}/a", "401", {"HTTP_AUTHORIZATION": "Basic !!"}),
        (f"/{UID}/a", "401", {"HTTP_AUTHORIZATION": f"Bearer {password(KEY, UID)}"}),
        ("/../a", "401", {"HTTP_AUTHORIZATION": basic("..", password(KEY, ".."))}),
        (f"/{OTHER}/a/b", "403", {"HTTP_AUTHORIZATION": basic(UID, password(KEY, UID))}),
        (
            f"/{UID}/a",
            "403",
            {"HTTP_AUTHORIZATION": basic(UID, password(KEY, UID)), "HTTP_DESTINATION": f"https://store/{OTHER}/a"},
        ),
        (
            f"/{UID}/a",
            "403",
            {"HTTP_AUTHORIZATION": basic(UID, password(KEY, UID)), "HTTP_DESTINATION": f"/{UID}/%2e%2e/{OTHER}/a"},
        ),
    ],
)
def test_guard(path: str, status: str, headers: dict[str, str], tmp_path: Path) -> None:
    answered: list[str] = []

    def start(line: str, _: Any) -> None:
        answered.append(line)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    list(Guard(app, tmp_path, KEY)({"PATH_INFO": path, **headers}, start))
    assert answered[0].startswith(status)
    assert (tmp_path / UID).is_dir() is (status == "200")
    assert not (tmp_path / OTHER).exists()
