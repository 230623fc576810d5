"""Messages by the API."""

from __future__ import annotations

import base64
import email
import hashlib
import os
from typing import Any

import pytest

from mailcore.api.message import with_links
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.flags import FLAGGED, FlagSet
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from tests.api.conftest import Api
from tests.builders import MadeUser
from tests.hostile import HOSTILE
from tests.store.test_delivery import deliver, message

ACTOR = Actor(ActorKind.OPERATOR, Door.CLI, "test")
PICTURE = os.urandom(50_000)
RICH = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nTo: Ada <ada@example.org>, b@example.org\r\n"
    b"Cc: c@example.org\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\nMessage-ID: <1@example.org>\r\n"
    b"References: <0@example.org> <00@example.org>\r\nDate: Wed, 25 Nov 2026 12:00:00 +0100\r\n"
    b"List-Id: Friends <friends.example.org>\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: multipart/related; boundary="r"\r\n\r\n'
    b"--r\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b'<p>Gr=FC=DFe</p><img src=3D"cid:pic@x">\r\n--r\r\nContent-Type: image/png\r\nContent-ID: <pic@x>\r\n'
    b"Content-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(PICTURE).replace(b"\n", b"\r\n")
    + b"--r--\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nplain words\r\n--b\r\n"
    b"Content-Type: application/pdf; name*=utf-8''%e2%82%ac%2e%2e%2fx%22.pdf\r\n"
    b"Content-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\nUERG\r\n--b--\r\n"
)


@pytest.fixture
def path(own: Api) -> str:
    inbox = own.get("/users/me/mailboxes/resolve?path=INBOX").body["id"]
    return f"/users/me/mailboxes/{inbox}/messages"


def test_lists_newest_first_in_pages(own: Api, path: str, services: MailServices, user: MadeUser) -> None:
    for number in range(7):
        deliver(services, message(b"%d" % number), user)
    seen: list[int] = []
    cursor: object = ""
    pages = []
    while cursor is not False:
        answer = own.get(f"{path}?limit=3&next={cursor}&previous=&page=&unseen=").body
        seen += [one["id"] for one in answer["results"]]
        pages.append((answer["page"], answer["total"], len(answer["results"]), answer["previousCursor"] is False))
        cursor, last = answer["nextCursor"], answer
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    assert pages == [(1, 7, 3, True), (2, 7, 3, False), (3, 7, 1, False)]
    back = own.get(f"{path}?limit=3&previous={last['previousCursor']}").body
    assert [one["id"] for one in back["results"]] == [4, 3, 2]
    assert [one["id"] for one in own.get(f"{path}?order=asc&limit=2").body["results"]] == [1, 2]


def test_a_cursor_holds_though_its_message_is_gone(own: Api, path: str, services: MailServices, user: MadeUser) -> None:
    for number in range(4):
        deliver(services, message(b"%d" % number), user)
    cursor = own.get(f"{path}?limit=2").body["nextCursor"]
    assert own.delete(f"{path}/3").status == 200
    assert [one["id"] for one in own.get(f"{path}?limit=2&next={cursor}").body["results"]] == [2, 1]


def test_a_list_shows_what_a_message_is(own: Api, path: str, services: MailServices, user: MadeUser) -> None:
    deliver(services, RICH, user)
    found = own.get(f"{path}?includeHeaders=true&metaData=true&threadCounters=true").body["results"][0]
    assert found["from"] == {"name": "Jürgen", "address": "j@example.org"}
    assert [one["address"] for one in found["to"]] == ["ada@example.org", "b@example.org"]
    assert (found["subject"], found["date"]) == ("Grüße", "2026-11-25T11:00:00.000Z")
    assert found["references"] == ["<0@example.org>", "<00@example.org>"]
    assert [one["id"] for one in found["attachmentsList"]] == ["ATT00001", "ATT00002"]
    assert [one["related"] for one in found["attachmentsList"]] == [True, False]
    assert found["contentType"]["value"] == "multipart/mixed"
    assert (found["attachments"], found["seen"], found["threadMessageCount"]) == (True, False, 1)
    assert found["headers"]["list-id"] == ["Friends <friends.example.org>"]


def test_a_message_shows_its_texts_and_gives_its_attachments(
    own: Api, path: str, services: MailServices, user: MadeUser
) -> None:
    deliver(services, RICH, user)
    found = own.get(f"{path}/1?markAsSeen=true").body
    assert found["html"] == ['<p>Grüße</p><img src="attachment:ATT00001">']
    assert found["text"].strip() == "plain words"
    assert found["list"]["id"] == {"name": "Friends", "address": "friends.example.org"}
    assert found["seen"] is True
    assert own.get(f"{path}/1").body["seen"] is True
    picture = own.get(f"{path}/1/attachments/ATT00001")
    assert hashlib.sha256(picture.raw).digest() == hashlib.sha256(PICTURE).digest()
    other = own.get(f"{path}/1/attachments/ATT00002")
    assert other.raw == b"PDF"
    assert other.headers["Content-Disposition"] == "attachment; filename*=UTF-8''x.pdf"
    assert other.headers["X-Content-Type-Options"] == "nosniff"
    assert own.get(f"{path}/1/attachments/ATT00003").body["code"] == "AttachmentNotFound"


class Counted(dict[str, str]):
    """Counts how often something is looked for."""

    asked = 0

    def get(self, *arguments: Any) -> Any:
        self.asked += 1
        return super().get(*arguments)


def test_links_to_parts_cost_what_the_text_is_long() -> None:
    """Not the product of text and parts: of both there may be many."""
    links = Counted({f"p{number}@x": f"ATT{number:05d}" for number in range(1, 5001)}, **{"a b@x": "ATT09999"})
    html = "<img src=cid:p1@x><img src='CID:p11@x'> url(cid:p1@y) acid:p2@x \"cid:a%20b@x\""
    wanted = "<img src=attachment:ATT00001><img src='attachment:ATT00011'> url(cid:p1@y) acid:p2@x"
    assert with_links(html, links) == f'{wanted} "attachment:ATT09999"'
    assert links.asked <= 2 * html.lower().count("cid:")


def test_a_dry_run_shows_a_message_and_marks_nothing(
    own: Api, path: str, services: MailServices, user: MadeUser
) -> None:
    deliver(services, RICH, user)
    found = own.get(f"{path}/1?markAsSeen=true&dry_run=true").body
    assert (found["subject"], found["seen"]) == ("Grüße", False)
    assert own.get(f"{path}/1").body["seen"] is False


def test_the_source_is_what_came(own: Api, path: str, services: MailServices, user: MadeUser) -> None:
    deliver(services, RICH, user)
    source = own.get(f"{path}/1/message.eml").raw
    assert source.endswith(RICH)
    assert email.message_from_bytes(source)["Message-ID"] == "<1@example.org>"


def test_flags_and_metadata_change(own: Api, path: str, services: MailServices, user: MadeUser) -> None:
    for _ in range(3):
        deliver(services, message(b"x"), user)
    assert own.put(path, {"message": "1,2:*", "seen": True, "flagged": "yes"}).body["updated"] == 3
    assert own.put(f"{path}/2", {"flagged": False, "metaData": {"a": [1]}}).body["updated"] == 1
    found = {one["id"]: one for one in own.get(f"{path}?metaData=1").body["results"]}
    assert [found[uid]["flagged"] for uid in (1, 2, 3)] == [True, False, True]
    assert [found[uid]["metaData"] for uid in (1, 2)] == [{}, {"a": [1]}]
    assert own.get(f"{path}/2").body["metaData"] == {"a": [1]}
    assert [one["id"] for one in own.get(f"{path}?unseen=true").body["results"]] == []
    assert own.put(f"{path}/9", {"seen": True}).body["code"] == "MessageNotFound"
    assert own.put(f"{path}/1", {}).body["code"] == "NoUpdates"
    assert own.put(f"{path}/1", {"expires": "2027-01-01"}).status == 200
    assert own.get(f"{path}/1").body["expires"] == "2027-01-01T00:00:00.000Z"


def test_what_cannot_be_moved_is_not_changed_either(
    own: Api, path: str, services: MailServices, user: MadeUser
) -> None:
    deliver(services, message(b"x"), user)
    answer = own.put(f"{path}/1", {"flagged": True, "metaData": {"a": 1}, "moveTo": "0" * 24})
    assert (answer.status, answer.body["code"]) == (404, "NoSuchMailbox")
    found = own.get(f"{path}/1").body
    assert (found["flagged"], found["metaData"]) == (False, {})


def test_messages_move_and_go(own: Api, path: str, services: MailServices, user: MadeUser) -> None:
    for _ in range(3):
        deliver(services, message(b"x"), user)
    trash = own.get("/users/me/mailboxes/resolve?path=Trash").body["id"]
    plan = own.put(f"{path}/1:2?dry_run=true", {"moveTo": trash}).body["plan"]
    assert [step["change"] for step in plan] == ["mail.move-from"]
    assert own.put(f"{path}/1:2", {"moveTo": trash}).body["id"] == [[1, 1], [2, 2]]
    assert own.get(path).body["total"] == 1
    assert own.delete(f"/users/me/mailboxes/{trash}/messages").body["deleted"] == 2
    assert own.get(f"/users/me/mailboxes/{trash}/messages").body["total"] == 0


def test_one_of_a_conversation_stands_for_all(own: Api, path: str, services: MailServices, user: MadeUser) -> None:
    for number in range(3):
        deliver(services, b"References: <t@x>\r\nMessage-ID: <%d@x>\r\n\r\n" % number, user)
    deliver(services, message(b"alone"), user)
    found = own.get(f"{path}?collapseThreads=true&threadCounters=true").body
    assert [(one["id"], one["threadMessageCount"]) for one in found["results"]] == [(4, 1), (3, 3)]
    assert found["total"] == 2


@pytest.mark.parametrize("text", ["0", "-1", "x", "1,", "*", "1:2:3", "4294967296", "１", f"00000000001{'9' * 20}"])
def test_ids_that_are_none_are_refused(own: Api, path: str, text: str) -> None:
    assert own.put(f"{path}/{text}", {"seen": True}).body["code"] == "InputValidationError"
    assert own.get(f"{path}/{text}").body["code"] == "InputValidationError"


@pytest.mark.parametrize("cursor", ["x", "W10", "WzEsMV0=", "WyIxIiwxXQ", "WyIxLnsi"])
def test_cursors_that_are_none_are_refused(own: Api, path: str, cursor: str) -> None:
    assert own.get(f"{path}?next={cursor}").body["code"] == "InputValidationError"


def test_hostile_messages_are_listed_and_shown(own: Api, path: str, services: MailServices, user: MadeUser) -> None:
    """Whatever came is JSON that fits its description; nothing ends in a 500."""
    count = 0
    for hostile in HOSTILE:
        raw = hostile.build()
        if len(raw) < 2_000_000:
            services.messages.append(user.user_id, ACTOR, "INBOX", [NewMessage(raw, FlagSet(FLAGGED))])
            count += 1
    listed = own.get(f"{path}?limit=250&metaData=true")
    assert (listed.status, len(listed.body["results"])) == (200, count)
    for uid in range(1, count + 1):
        assert own.get(f"{path}/{uid}").status == 200


def test_a_message_tells_what_was_verified_of_it(own: Api, path: str, services: MailServices, user: MadeUser) -> None:
    results = f"Authentication-Results: {services.settings.hostname}; dkim=pass header.d=example.org; spf=fail;"
    raw = f"{results} dmarc=fail (p=reject) header.from=example.net\r\nSubject: x\r\n\r\nx".encode()
    services.messages.append(user.user_id, ACTOR, "INBOX", [NewMessage(raw)])
    found = own.get(f"{path}/1").body["verificationResults"]
    assert found == {
        "tls": False, "spf": False, "dkim": "example.org", "dmarc": {"domain": False, "policy": "reject"},
    }  # fmt: skip
    services.messages.append(user.user_id, ACTOR, "INBOX", [NewMessage(raw.replace(b"Authentication", b"X"))])
    assert "verificationResults" not in own.get(f"{path}/2").body
