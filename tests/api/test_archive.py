"""The archive by the API: what was deleted, listed and put back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from bson import ObjectId

from mailcore.model.ids import MailboxId
from mailcore.services import MailServices
from mailcore.services.keeping.archive import numbers_of
from tests.api.conftest import Api
from tests.builders import OPERATOR, MadeUser
from tests.store.test_delivery import deliver, message

ARCHIVED = "/users/me/archived/messages"


def inbox(api: Api) -> str:
    return f"/users/me/mailboxes/{api.get('/users/me/mailboxes/resolve?path=INBOX').body['id']}/messages"


def subjects(api: Api, path: str) -> list[str]:
    return [one["subject"] for one in api.get(f"{path}?limit=250").body["results"]]


def test_what_was_deleted_is_listed_and_comes_back_where_it_was(
    own: Api, services: MailServices, user: MadeUser
) -> None:
    path = inbox(own)
    for number in range(4):
        own.post(path, {"subject": f"s{number}", "text": "x", "flagged": number == 2})
    services.mailboxes.create(user.user_id, OPERATOR, "Other")
    for uid in (2, 3, 4):
        assert own.delete(f"{path}/{uid}").status == 200
    first = own.get(f"{ARCHIVED}?limit=2&next=&page=&threadCounters=true&includeHeaders=1&metaData=1").body
    assert (first["total"], len(first["results"])) == (3, 2)
    second = own.get(f"{ARCHIVED}?limit=2&next={first['nextCursor']}").body
    assert (second["nextCursor"], second["page"]) == (False, 2)
    listed = {one["subject"]: one for one in (*first["results"], *second["results"])}
    assert listed.keys() == {"s1", "s2", "s3"}
    assert listed["s2"]["flagged"] is True
    assert first["results"][0]["headers"]["mime-version"] == ["1.0"]
    assert own.get(f"{ARCHIVED}?limit=3&order=asc").body["results"][-1] != own.get(ARCHIVED).body["results"][-1]

    answer = own.post(f"{ARCHIVED}/{listed['s2']['id']}/restore", {"mailbox": ""})
    assert answer.body == {"success": True, "mailbox": path.split("/")[4], "id": 5}
    assert own.get(f"{path}/5").body["flagged"] is True
    other = own.get("/users/me/mailboxes/resolve?path=Other").body["id"]
    moved = own.post(f"{ARCHIVED}/{listed['s1']['id']}/restore", {"mailbox": other}).body
    assert (moved["mailbox"], moved["id"]) == (other, 1)
    assert subjects(own, ARCHIVED) == ["s3"]
    again = own.post(f"{ARCHIVED}/{listed['s1']['id']}/restore", {})
    assert (again.status, again.body["code"]) == (404, "MessageNotFound")
    assert own.post(f"{ARCHIVED}/abc/restore", {}).status == 400
    assert sorted(subjects(own, path)) == ["s0", "s2"]


def test_what_was_deleted_in_a_time_comes_back_together(own: Api, services: MailServices, user: MadeUser) -> None:
    services.mailboxes.create(user.user_id, OPERATOR, "Gone")
    gone = own.get("/users/me/mailboxes/resolve?path=Gone").body["id"]
    own.post(f"/users/me/mailboxes/{gone}/messages", {"subject": "g", "text": "x"})
    for number in range(3):
        deliver(services, message(b"%d" % number), user)
    assert own.delete(f"/users/me/mailboxes/{gone}").status == 200
    assert own.delete(inbox(own)).body["deleted"] == 3
    past = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    assert own.post("/users/me/archived/restore", past).body["restored"] == 0
    now = datetime.now(UTC)
    said = {"start": (now - timedelta(hours=1)).isoformat(), "end": (now + timedelta(hours=1)).isoformat()}
    assert own.post("/users/me/archived/restore?dry_run=1", said).body["dryRun"] is True
    answer = own.post("/users/me/archived/restore", said).body
    assert (len(answer["task"]), answer["restored"]) == (24, 4)
    assert own.get(inbox(own)).body["total"] == 3
    assert own.get("/users/me/mailboxes/resolve?path=Gone").body["total"] == 1
    assert own.get(ARCHIVED).body["total"] == 0
    backwards = {"start": said["end"], "end": said["start"]}
    assert own.post("/users/me/archived/restore", backwards).body["details"].keys() == {"end"}


def test_drafts_and_what_was_discarded_are_not_listed(own: Api) -> None:
    path = inbox(own)
    own.post(path, {"subject": "draft", "draft": True})
    own.delete(f"{path}/1")
    own.post(path, {"subject": "discarded"})
    answer = own.delete(f"{path}?skipArchive=true&async=true").body
    assert (answer["deleted"], answer["existing"], len(answer["scheduled"])) == (1, False, 24)
    own.post(path, {"subject": "deleted"})
    own.delete(f"{path}/3")
    assert subjects(own, ARCHIVED) == ["deleted"]
    said = {"start": "2020-01-01T00:00:00Z", "end": "2099-01-01T00:00:00Z"}
    assert own.post("/users/me/archived/restore", said).body["restored"] == 1
    assert subjects(own, path) == ["deleted"]


def test_what_does_not_fit_is_not_restored(own: Api, services: MailServices, user: MadeUser) -> None:
    path = inbox(own)
    own.post(path, {"subject": "x", "text": "x" * 5000})
    own.delete(f"{path}/1")
    services.users.set_quota(OPERATOR, user.user_id, 2000)
    services.placement.forget(user.user_id)
    [listed] = own.get(ARCHIVED).body["results"]
    assert own.post(f"{ARCHIVED}/{listed['id']}/restore", {}).body["code"] == "OverQuotaError"
    assert own.get(ARCHIVED).body["total"] == 1


def test_numbers_tell_messages_apart_and_are_safe_in_javascript() -> None:
    uids = np.arange(1, 200_001, dtype=np.uint32)
    found = np.concatenate([numbers_of(MailboxId(ObjectId(bytes([n]) * 12)), uids) for n in range(8)])
    assert len(np.unique(found)) == len(found)
    assert int(found.max()) < 1 << 52
