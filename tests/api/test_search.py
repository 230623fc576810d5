"""Searching by the API."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from bson import ObjectId

from mailcore.api.search_query import parse_query
from mailcore.model.ids import MailboxId, MailboxName, UidValidity, UserId
from mailcore.model.mailbox import MailboxEntry
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.search.search import Search
from mailcore.store.mailbox.view import MailboxView
from tests.api.conftest import Api
from tests.builders import OPERATOR, MadeUser
from tests.store.test_delivery import deliver

INBOX = MailboxEntry(MailboxId(ObjectId()), MailboxName("INBOX"), UidValidity(1))
PICTURE = (
    b"From: eve@example.org\r\nCc: ada@example.org\r\nSubject: Picture\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nlook\r\n--b\r\n'
    b"Content-Type: image/png; name=a.png\r\nContent-Disposition: attachment\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n"
)
LETTERS = (
    b"From: ada@example.org\r\nTo: team@example.org\r\nSubject: Quarterly report\r\n\r\nthe numbers are fine\r\n",
    b"From: bob@example.org\r\nTo: ada@example.org\r\nSubject: Lunch\r\n\r\nthe report about lunch\r\n",
    PICTURE,
)


@pytest.fixture
def found(own: Api, services: MailServices, user: MadeUser) -> Api:
    for letter in LETTERS:
        deliver(services, letter, user)
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    services.messages.copy(user.user_id, OPERATOR, inbox, UidSet(((1, 1),)), "Archive")
    return own


def subjects(api: Api, query: str) -> list[str]:
    return [one["subject"] for one in api.get(f"/users/me/search?{query}").body["results"]]


@pytest.mark.parametrize(
    ("q", "wanted"),
    [
        ("report", ["Quarterly report", "Lunch", "Quarterly report"]),
        ('"the report"', ["Lunch"]),
        ("report -lunch", ["Quarterly report", "Quarterly report"]),
        ("in:archive", ["Quarterly report"]),
        ("in:inbox from:ada", ["Quarterly report"]),
        ("to:ada", ["Picture", "Lunch"]),
        ("in:inbox (subject:lunch OR subject:picture)", ["Picture", "Lunch"]),
        ("in:inbox -(subject:lunch OR subject:picture)", ["Quarterly report"]),
        ("has:attachment", ["Picture"]),
        ("in:inbox -has:attachment", ["Lunch", "Quarterly report"]),
        ("is:unread in:inbox after:2020-01-01", ["Picture", "Lunch", "Quarterly report"]),
        ("is:starred", []),
        ("before:2020/01/01", []),
        ("nosuch:key", []),
    ],
)
def test_the_grammar_finds(found: Api, q: str, wanted: list[str]) -> None:
    assert subjects(found, f"q={quote(q)}") == wanted


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("query=report+lunch", ["Lunch"]),
        ("from=eve&attachments=true", ["Picture"]),
        ("or.from=eve&or.subject=lunch", ["Picture", "Lunch"]),
        ("searchable=true&subject=quarterly&limit=1", ["Quarterly report"]),
        ("minSize=100000", []),
        ("unseen=true&subject=lunch&next=&page=", ["Lunch"]),
    ],
)
def test_fields_find(found: Api, query: str, wanted: list[str]) -> None:
    assert subjects(found, query) == wanted


def test_pages_of_a_search(found: Api) -> None:
    first = found.get("/users/me/search?query=the&limit=2").body
    second = found.get(f"/users/me/search?query=the&limit=2&next={first['nextCursor']}").body
    assert (first["total"], len(first["results"]), len(second["results"]), second["nextCursor"]) == (3, 2, 1, False)
    assert [one["subject"] for one in first["results"] + second["results"]].count("Quarterly report") == 2


def test_all_that_is_found_changes(found: Api) -> None:
    trash = found.get("/users/me/mailboxes/resolve?path=Trash").body["id"]
    answer = found.post("/users/me/search", {"query": "report", "action": {"seen": True, "moveTo": trash}})
    assert answer.status == 200
    listed = found.get(f"/users/me/mailboxes/{trash}/messages").body
    assert (listed["total"], all(one["seen"] for one in listed["results"])) == (3, True)
    assert found.post("/users/me/search", {"query": "x", "action": {}}).body["code"] == "InputValidationError"


@pytest.mark.parametrize("q", ["(" * 50, "a " * 200, "id:x", "after:tomorrow", "thread:zz", "(has:attachment OR a)"])
def test_what_is_no_search_is_refused(own: Api, q: str) -> None:
    answer = own.get(f"/users/me/search?q={quote(q)}")
    assert (answer.status, answer.body["code"]) == (400, "InputValidationError")


@pytest.mark.parametrize(
    "q",
    ["", ")", "OR", "a OR", '"', "-", "-()", "()", "from:", '-from:""', "((a)", "a) b", "ſ:İ", "after:9999y before:0d"],
)
def test_odd_searches_are_searches(own: Api, q: str) -> None:
    parse_query(q).query(INBOX)
    assert own.get(f"/users/me/search?q={quote(q)}").status == 200


def test_the_next_page_searches_no_text_again(found: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found is kept until the mailbox changes."""
    searched: list[str] = []
    by_text = Search._by_text

    def counting(self: Search, user_id: UserId, view: MailboxView, *rest: Any) -> Any:
        searched.append(str(view.mailbox_id))
        return by_text(self, user_id, view, *rest)

    monkeypatch.setattr(Search, "_by_text", counting)
    first = found.get("/users/me/search?query=the&limit=1").body
    mailboxes = len(searched)
    assert mailboxes == len(set(searched)) > 1
    found.get(f"/users/me/search?query=the&limit=1&next={first['nextCursor']}")
    assert len(searched) == mailboxes
    one = first["results"][0]
    found.put(f"/users/me/mailboxes/{one['mailbox']}/messages/{one['id']}", {"flagged": True})
    found.get("/users/me/search?query=the&limit=1")
    assert searched[mailboxes:] == [one["mailbox"]]
