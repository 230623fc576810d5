"""Mailboxes by the API."""

from __future__ import annotations

import pytest

from mailcore.services import MailServices
from tests.api.conftest import Api
from tests.builders import MadeUser
from tests.store.test_delivery import deliver, message


def test_lists_in_order_with_counters(own: Api, services: MailServices, user: MadeUser) -> None:
    deliver(services, message(b"one"), user)
    found = own.get("/users/me/mailboxes?counters=true&sizes=yes").body["results"]
    assert found[0]["path"] == "INBOX"
    assert (found[0]["total"], found[0]["unseen"]) == (1, 1)
    assert found[0]["size"] > 0
    assert "total" not in own.get("/users/me/mailboxes?counters=&page=").body["results"][0]
    special = own.get("/users/me/mailboxes?specialUse=1").body["results"]
    assert {one["specialUse"] for one in special} == {"\\Sent", "\\Drafts", "\\Trash", "\\Junk", "\\Archive"}


def test_makes_renames_and_deletes(own: Api) -> None:
    made = own.post("/users/me/mailboxes", {"path": "Projekte/Süd"}).body["id"]
    assert own.get(f"/users/me/mailboxes/{made}").body["name"] == "Süd"
    below = own.post("/users/me/mailboxes", {"path": "Projekte/Süd/2026"}).body["id"]
    assert own.put(f"/users/me/mailboxes/{made}", {"path": "Projekte/Nord", "subscribed": False}).status == 200
    assert own.get(f"/users/me/mailboxes/{below}").body["path"] == "Projekte/Nord/2026"
    assert own.get("/users/me/mailboxes/resolve?path=Projekte/Nord").body["subscribed"] is False
    assert own.delete(f"/users/me/mailboxes/{made}").status == 200
    assert own.get(f"/users/me/mailboxes/{made}").body["code"] == "NoSuchMailbox"


def test_hides_keeps_for_a_time_and_encrypts(own: Api) -> None:
    said = {"path": "Secret", "hidden": True, "retention": 1000, "encryptMessages": "yes"}
    made = own.post("/users/me/mailboxes", said).body["id"]
    found = own.get(f"/users/me/mailboxes/{made}").body
    assert (found["hidden"], found["retention"], found["encryptMessages"]) == (True, 1000, True)
    assert made not in {one["id"] for one in own.get("/users/me/mailboxes").body["results"]}
    assert made in {one["id"] for one in own.get("/users/me/mailboxes?showHidden=1").body["results"]}
    assert own.delete(f"/users/me/mailboxes/{made}").body["code"] == "DisallowedMailboxMethod"
    changes = {"hidden": False, "retention": 0, "encryptMessages": "", "subscribed": ""}
    assert own.put(f"/users/me/mailboxes/{made}?dry_run=1", changes).body["plan"][0]["hidden"] is False
    assert own.put(f"/users/me/mailboxes/{made}", changes).status == 200
    found = own.get(f"/users/me/mailboxes/{made}").body
    assert (found["hidden"], found["encryptMessages"], "retention" in found) == (False, True, False)
    assert own.put(f"/users/me/mailboxes/{made}", {"retention": -1}).status == 400
    inbox = own.get("/users/me/mailboxes/resolve?path=INBOX").body["id"]
    assert own.put(f"/users/me/mailboxes/{inbox}", {"hidden": True}).status == 400


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("INBOX", 400, "MailboxExistsError"),
        ("a//b", 400, "InputValidationError"),
        ("x/" * 40 + "y", 400, "InputValidationError"),
        ("nul\x00", 400, "InputValidationError"),
        ("", 400, "InputValidationError"),
    ],
)
def test_refuses_names_that_are_none(own: Api, path: str, status: int, code: str) -> None:
    answer = own.post("/users/me/mailboxes", {"path": path})
    assert (answer.status, answer.body["code"]) == (status, code)


def test_inbox_and_special_uses_stay(own: Api) -> None:
    for one in own.get("/users/me/mailboxes").body["results"]:
        assert own.delete(f"/users/me/mailboxes/{one['id']}").body["code"] == "DisallowedMailboxMethod"


def test_no_own_mailbox_has_the_name_of_what_others_share(own: Api) -> None:
    """A mail client could not open it: it would look for the mailbox of somebody else."""
    assert own.post("/users/me/mailboxes", {"path": "Shared/ada@example.org/Plans"}).status == 400
    assert own.post("/users/me/mailboxes", {"path": "Shared/Plans"}).status == 200
    made = own.post("/users/me/mailboxes", {"path": "Team"}).body["id"]
    assert own.post("/users/me/mailboxes", {"path": "Team/ada@example.org/Plans"}).status == 200
    for path in ("Shared/ada@example.org/Team", "Shared"):
        assert own.put(f"/users/me/mailboxes/{made}", {"path": path}).status == 400
    paths = [one["path"] for one in own.get("/users/me/mailboxes").body["results"]]
    assert [path for path in paths if path.startswith(("Shared", "Team"))] == [
        "Shared/Plans", "Team", "Team/ada@example.org/Plans",
    ]  # fmt: skip
