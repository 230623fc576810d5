"""Storage files by the API."""

from __future__ import annotations

import base64
import hashlib
import os

import pytest
from bson import ObjectId

from mailcore.services import MailServices
from mailcore.store.message.collection import CRASHED_AFTER_S
from mailcore.store.user.files import file_key
from tests.api.conftest import Api
from tests.builders import MadeUser, make_user

OCTETS = "application/octet-stream"
DATA = os.urandom(100_000)


def add(api: Api, data: bytes, query: str = "") -> str:
    return str(api.post(f"/users/me/storage?{query}", None, data=data, content_type=OCTETS).body["id"])


def test_a_file_comes_back_as_it_was(own: Api) -> None:
    made = add(own, DATA, "filename=a%2Fb%22.png&contentType=image/png&cid=x@y")
    got = own.get(f"/users/me/storage/{made}")
    assert hashlib.sha256(got.raw).digest() == hashlib.sha256(DATA).digest()
    assert got.headers["Content-Type"] == "image/png"
    assert got.headers["Content-Disposition"] == "attachment; filename*=UTF-8''b.png"
    [listed] = own.get("/users/me/storage").body["results"]
    assert (listed["filename"], listed["size"], listed["cid"]) == ('a/b".png', len(DATA), "x@y")
    assert listed["md5"] == hashlib.md5(DATA).hexdigest()
    assert own.delete(f"/users/me/storage/{made}").status == 200
    assert own.get(f"/users/me/storage/{made}").body["code"] == "FileNotFound"
    assert own.delete(f"/users/me/storage/{made}").body["code"] == "FileNotFound"


@pytest.mark.parametrize("data", [b"", b"x", DATA], ids=["empty", "one", "many"])
def test_content_comes_in_json_too(own: Api, data: bytes) -> None:
    said = {"filename": "x.bin", "contentType": "", "encoding": "base64", "content": base64.b64encode(data).decode()}
    made = own.post("/users/me/storage", said).body["id"]
    assert own.get(f"/users/me/storage/{made}").raw == data


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"content": "???", "encoding": "base64"},
        {"content": "x", "filename": "a\r\nb"},
        {"content": "x", "contentType": "text/html\r\nX: y"},
        {"content": "x", "contentType": "html"},
        {"content": "x", "cid": "a\nb"},
        {"content": 7},
    ],
    ids=str,
)
def test_what_does_not_fit_is_told(own: Api, said: dict[str, object]) -> None:
    answer = own.post("/users/me/storage", said)
    assert (answer.status, answer.body["code"]) == (400, "InputValidationError")
    assert answer.body["details"]


def test_lists_come_in_pages_latest_first(own: Api) -> None:
    made = [add(own, b"x", f"filename=file{number}") for number in range(5)]
    add(own, b"x", "filename=other")
    first = own.get("/users/me/storage?query=FILE&limit=2&next=&page=").body
    assert (first["total"], [one["id"] for one in first["results"]]) == (5, made[:2:-1])
    second = own.get(f"/users/me/storage?query=FILE&limit=2&next={first['nextCursor']}").body
    assert [one["id"] for one in second["results"]] == made[2:0:-1]
    back = own.get(f"/users/me/storage?query=FILE&limit=2&previous={second['previousCursor']}").body
    assert [one["id"] for one in back["results"]] == made[:2:-1]


def test_equal_content_is_kept_once_and_goes_with_the_last(own: Api, services: MailServices, user: MadeUser) -> None:
    shard = services.placement.home(user.user_id).shard
    first, second = add(own, DATA), add(own, DATA)
    assert len(list(shard.blobs.of_tenant(user.tenant_id))) == 1
    own.delete(f"/users/me/storage/{first}")
    assert own.get(f"/users/me/storage/{second}").raw == DATA
    own.delete(f"/users/me/storage/{second}")
    assert list(shard.blobs.of_tenant(user.tenant_id)) == []


def test_the_sweep_knows_files(own: Api, services: MailServices, user: MadeUser) -> None:
    """References of files that are there stay, whatever their age; those of uploads that died go."""
    shard = services.placement.home(user.user_id).shard
    made = add(own, DATA)
    shard.collector().sweep_references(lambda: None, older_than_s=-1)
    assert own.get(f"/users/me/storage/{made}").raw == DATA
    shard.hot["files"].delete_one({"_id": file_key(user.user_id, ObjectId(made))})
    shard.collector().sweep_references(lambda: None, CRASHED_AFTER_S)
    assert len(list(shard.blob_refs.of_tenant(user.tenant_id))) == 1
    shard.collector().sweep_references(lambda: None, older_than_s=-1)
    assert list(shard.blob_refs.of_tenant(user.tenant_id)) == []


def test_files_are_counted(own: Api, services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = services.files._limits
    monkeypatch.setattr(services.files, "_limits", type(limits)(files=2, files_bytes=1000))
    assert own.post("/users/me/storage", {"content": "x" * 1001}).body["code"] == "TooMany"
    add(own, b"x")
    add(own, b"x")
    answer = own.post("/users/me/storage", {"content": "x"})
    assert (answer.status, answer.body["code"]) == (403, "TooMany")


def test_nobody_reads_anothers_file(tenant: Api, own: Api, services: MailServices, user: MadeUser) -> None:
    made = add(own, DATA)
    domain = user.address.partition("@")[2]
    colleague = make_user(services, tenant=(user.tenant_id, domain))
    assert tenant.get(f"/users/{colleague.user_id}/storage/{made}").body["code"] == "FileNotFound"
    said = {"files": [made], "to": [{"address": "x@example.org"}]}
    assert tenant.post(f"/users/{colleague.user_id}/submit", said).body["code"] == "FileNotFound"
