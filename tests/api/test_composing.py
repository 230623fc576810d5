"""Composing, uploading and sending by the API."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import os
from email.message import EmailMessage
from typing import Any

import pytest

from mailcore.errors import StoreUnavailable
from mailcore.model.outbound import EntryState, Reason
from mailcore.model.reputation import HoldCause
from mailcore.model.tenant import State
from mailcore.services import MailServices
from mailcore.services.inbound.forwarding import Forwarding
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.outbound.submission import Submission
from tests.api.conftest import Answer, Api
from tests.builders import OPERATOR, MadeUser, make_user
from tests.store.test_delivery import deliver

OCTETS = "application/octet-stream"
PICTURE = os.urandom(50_000)
ORIGINAL = (
    b"From: Ann Lind <ann@example.org>\r\nTo: us@example.org, other@example.org\r\nCc: Eve <eve@example.org>\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <2@example.org>\r\n"
    b"References: <0@example.org> <1@example.org>\r\n"
    b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nHello\r\n--b\r\n'
    b"Content-Type: image/png; name=picture.png\r\nContent-Disposition: attachment; filename=picture.png\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(PICTURE).replace(b"\n", b"\r\n") + b"--b--\r\n"
)


def path_of(api: Api, name: str) -> str:
    found = api.get(f"/users/me/mailboxes/resolve?path={name}").body["id"]
    return f"/users/me/mailboxes/{found}/messages"


def source(api: Api, place: dict[str, Any]) -> EmailMessage:
    raw = api.get(f"/users/me/mailboxes/{place['mailbox']}/messages/{place['id']}/message.eml").raw
    found = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def reference(path: str, uid: int, action: str, **more: Any) -> dict[str, Any]:
    return {"mailbox": path.split("/")[4], "id": uid, "action": action, **more}


def sent_to(services: MailServices, user: MadeUser, answer: Answer) -> list[str]:
    entry = services.outbound.get(user.user_id, answer.body["message"]["queueId"])
    return [each.address for each in entry.recipients]


def test_a_message_goes_out_as_it_was_meant(own: Api, services: MailServices, user: MadeUser) -> None:
    answer = own.post(
        "/users/me/submit",
        {
            "from": {"name": "", "address": user.address},
            "replyTo": "",
            "to": [
                {"name": "Jürgen Groß", "address": "j@example.org"},
                {"name": 'a "b" (c)', "address": "b@example.org"},
            ],
            "cc": [{"name": "", "address": "c@example.org"}],
            "bcc": [{"address": "hidden@example.org"}],
            "subject": "Grüße aus Köln – und noch viel mehr als in eine Zeile geht, damit gefaltet wird",
            "text": "Hallo\nWelt ä\n.\nFrom here",
            "html": '<p>Hallo <img src="data:image/png;base64,' + base64.b64encode(PICTURE).decode() + '"></p>',
            "headers": [{"key": "X-Thing", "value": "ja"}],
            "attachments": [{"filename": "größe €.pdf", "contentType": "application/pdf", "content": "UERG"}],
            "draft": "",
            "sess": "x",
            "ip": "192.0.2.1",
        },
    )
    assert answer.status == 200, answer.body
    assert sorted(sent_to(services, user, answer)) == [
        "b@example.org", "c@example.org", "hidden@example.org", "j@example.org",
    ]  # fmt: skip
    out = b"".join(services.outbound.content(user.user_id, answer.body["message"]["queueId"]).read())
    assert b"hidden" not in out
    assert b"with HTTP id" in out
    kept = source(own, answer.body["message"])
    assert kept["bcc"] == "hidden@example.org"
    assert kept["to"] == 'Jürgen Groß <j@example.org>, "a \\"b\\" (c)" <b@example.org>'
    assert kept["subject"].startswith("Grüße aus Köln – und noch viel mehr")
    assert kept["x-thing"] == "ja"
    plain, html = kept.get_body(("plain",)), kept.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().replace("\r\n", "\n") == "Hallo\nWelt ä\n.\nFrom here\n"
    found = own.get(f"/users/me/mailboxes/{answer.body['message']['mailbox']}/messages/{answer.body['message']['id']}")
    assert [one["filename"] for one in found.body["attachments"]] == ["image1.png", "größe €.pdf"]
    assert [one["related"] for one in found.body["attachments"]] == [True, False]
    assert 'src="attachment:ATT00001"' in found.body["html"][0]
    assert found.body["seen"] is True
    assert found.body["outbound"][0]["queueId"] == answer.body["message"]["queueId"]
    shown = own.get(f"{path_of(own, 'Sent Mail')}/{found.body['id']}/attachments/ATT00001").raw
    assert hashlib.sha256(shown).digest() == hashlib.sha256(PICTURE).digest()


def test_an_answer_follows_its_original(own: Api, services: MailServices, user: MadeUser) -> None:
    """RFC 5322 §3.6.4; the original is marked."""
    deliver(services, ORIGINAL.replace(b"us@example.org", user.address.encode()), user)
    inbox = path_of(own, "INBOX")
    answer = own.post("/users/me/submit", {"reference": reference(inbox, 1, "reply"), "text": "Yes"})
    assert answer.status == 200, answer.body
    made = source(own, answer.body["message"])
    assert made["in-reply-to"] == "<2@example.org>"
    assert made["references"] == "<0@example.org> <1@example.org> <2@example.org>"
    assert made["subject"] == "Re: Grüße"
    assert made["to"] == "Ann Lind <ann@example.org>"
    assert own.get(f"{inbox}/1").body["answered"] is True
    listed = own.get(inbox).body["results"][0]
    assert listed["thread"] == own.get(path_of(own, "Sent Mail")).body["results"][0]["thread"]
    everybody = own.post("/users/me/submit", {"reference": reference(inbox, 1, "replyAll"), "text": "Yes"})
    assert sent_to(services, user, everybody) == ["ann@example.org", "other@example.org", "eve@example.org"]


def test_what_is_forwarded_takes_its_attachments_along(own: Api, services: MailServices, user: MadeUser) -> None:
    deliver(services, ORIGINAL, user)
    inbox = path_of(own, "INBOX")
    chunks = services.placement.home(user.user_id).shard.cold["chunks"].estimated_document_count()
    said = {"reference": reference(inbox, 1, "forward"), "text": "See", "to": [{"address": "x@example.org"}]}
    answer = own.post("/users/me/submit", said)
    assert answer.status == 200, answer.body
    made = source(own, answer.body["message"])
    assert made["subject"] == "Fwd: Grüße"
    [attachment] = made.iter_attachments()
    assert attachment.get_filename() == "picture.png"
    assert attachment.get_payload(decode=True) == PICTURE
    assert services.placement.home(user.user_id).shard.cold["chunks"].estimated_document_count() == chunks
    found = own.get(f"{inbox}/1").body
    assert (found["forwarded"], found["answered"]) == (True, False)
    without = own.post("/users/me/submit", said | {"reference": reference(inbox, 1, "forward", attachments=False)})
    assert list(source(own, without.body["message"]).iter_attachments()) == []
    wrong = said | {"reference": reference(inbox, 1, "forward", attachments=["ATT00009"])}
    assert own.post("/users/me/submit", wrong).body["code"] == "InputValidationError"


def test_a_draft_is_kept_replaced_and_sent_once(own: Api, services: MailServices, user: MadeUser) -> None:
    drafts = path_of(own, "Drafts")
    file = own.post(
        "/users/me/storage?filename=a.txt&contentType=text/plain", None, data=b"file", content_type=OCTETS
    ).body["id"]
    said = {"to": [{"address": "x@example.org"}], "subject": "One", "text": "1", "draft": True, "files": [file]}
    first = own.post(drafts, said).body["message"]
    second = own.post(drafts, said | {"subject": "Two", "replacePrevious": {"id": first["id"]}}).body
    assert second["previousDeleted"] is True
    found = own.get(f"{drafts}/{second['message']['id']}").body
    assert (found["draft"], found["subject"]) == (True, "Two")
    assert [one["id"] for one in found["files"]] == [file]
    assert own.get(drafts).body["total"] == 1
    again = own.post(drafts, said | {"replacePrevious": {"id": first["id"]}}).body
    assert (again["previousDeleted"], "previousDeleteError" in again) == (False, True)
    sent = own.post(f"{drafts}/{second['message']['id']}/submit", {"deleteFiles": True})
    assert sent.status == 200, sent.body
    assert sent.body["message"]["mailbox"] == path_of(own, "Sent Mail").split("/")[4]
    assert own.get(f"{drafts}/{second['message']['id']}").body["code"] == "MessageNotFound"
    assert own.get(f"/users/me/storage/{file}").body["code"] == "FileNotFound"
    made = source(own, sent.body["message"])
    assert [part.get_content() for part in made.iter_attachments()] == ["file"]
    inbox = path_of(own, "INBOX")
    deliver(services, ORIGINAL, user)
    assert own.post(f"{inbox}/1/submit", {}).body["code"] == "MessageNotDraft"


def test_an_answer_that_was_a_draft_marks_its_original_when_it_is_sent(
    own: Api, services: MailServices, user: MadeUser
) -> None:
    deliver(services, ORIGINAL, user)
    inbox, drafts = path_of(own, "INBOX"), path_of(own, "Drafts")
    draft = own.post(drafts, {"reference": reference(inbox, 1, "replyAll"), "text": "x", "metaData": {"k": 1}}).body
    uid = draft["message"]["id"]
    found = own.get(f"{drafts}/{uid}").body
    assert (found["draft"], found["metaData"]) == (True, {"k": 1})
    assert found["reference"] == reference(inbox, 1, "replyAll")
    assert [one["hasDrafts"] for one in own.get(f"{inbox}?includeHasDrafts=1").body["results"]] == [True]
    assert [one["hasDrafts"] for one in own.get("/users/me/search?includeHasDrafts=1&seen=0").body["results"]] == [True]
    assert own.get(f"{inbox}/1").body["answered"] is False
    sent = own.post(f"{drafts}/{uid}/submit", {"sendTime": ""}).body
    assert own.get(f"{inbox}/1").body["answered"] is True
    kept = own.get(f"{path_of(own, 'Sent Mail')}/{sent['message']['id']}").body
    assert (kept["reference"]["id"], kept["metaData"], kept["draft"]) == (1, {"k": 1}, False)
    assert [one["hasDrafts"] for one in own.get(f"{inbox}?includeHasDrafts=1").body["results"]] == [False]
    again = own.post(f"{drafts}/{uid}/submit", {})
    assert (again.status, again.body["code"]) == (404, "MessageNotFound")


def test_a_draft_becomes_the_copy_where_there_is_no_room_for_one(
    own: Api, services: MailServices, user: MadeUser
) -> None:
    drafts = path_of(own, "Drafts")
    uid = own.post(drafts, {"to": [{"address": "x@example.org"}], "text": "x" * 5000, "draft": 1}).body["message"]["id"]
    services.users.set_quota(OPERATOR, user.user_id, 6000)
    services.placement.forget(user.user_id)
    services.quotas.forget(user.user_id)
    sent = own.post(f"{drafts}/{uid}/submit", {}).body
    kept = own.get(f"{path_of(own, 'Sent Mail')}/{sent['message']['id']}").body
    assert (kept["draft"], kept["to"][0]["address"]) == (False, "x@example.org")
    assert own.get(drafts).body["total"] == 0


def test_what_has_no_room_is_not_sent_whatever_it_replaces(own: Api, services: MailServices, user: MadeUser) -> None:
    """An older version in Drafts is not what would be sent, so it cannot be the copy."""
    drafts = path_of(own, "Drafts")
    draft = own.post(drafts, {"subject": "older", "text": "x" * 5000, "draft": 1}).body["message"]
    services.users.set_quota(OPERATOR, user.user_id, 6000)
    services.placement.forget(user.user_id)
    services.quotas.forget(user.user_id)
    place = {"mailbox": draft["mailbox"], "id": draft["id"]}
    said = {"to": [{"address": "x@example.org"}], "subject": "newer", "text": "y" * 5000, "draft": place}
    assert own.post("/users/me/submit", said).body["code"] == "OverQuotaError"
    assert [one["subject"] for one in own.get(drafts).body["results"]] == ["older"]
    assert services.outbound.list_of_user(user.user_id) == []


def test_what_is_sent_later_can_be_taken_back(own: Api, services: MailServices, user: MadeUser) -> None:
    said = {"to": [{"address": "x@example.org"}], "text": "Later", "sendTime": "2099-01-01T00:00:00Z"}
    assert own.post("/users/me/submit", said).body["code"] == "InputValidationError"
    answer = own.post("/users/me/submit", said | {"sendTime": "2027-01-01T00:00:00Z"})
    queue_id = answer.body["message"]["queueId"]
    assert own.delete(f"/users/me/outbound/{queue_id}").status == 200
    assert services.outbound.get(user.user_id, queue_id).state is EntryState.CANCELLED
    again = own.delete(f"/users/me/outbound/{queue_id}")
    assert (again.status, again.body["code"]) == (404, "NoSuchQueueEntry")
    assert own.delete("/users/me/outbound/xyz").body["code"] == "NoSuchQueueEntry"


def test_a_message_is_sent_on_as_it_is(own: Api, services: MailServices, user: MadeUser) -> None:
    deliver(services, ORIGINAL, user)
    inbox = path_of(own, "INBOX")
    assert own.post(f"{inbox}/1/forward", {}).body["code"] == "ENORECIPIENTS"
    answer = own.post(f"{inbox}/1/forward", {"addresses": ["x@example.org", "y@example.org"]})
    assert [one["value"] for one in answer.body["forwarded"]] == ["x@example.org", "y@example.org"]
    out = b"".join(services.outbound.content(user.user_id, answer.body["queueId"]).read())
    assert out.endswith(ORIGINAL[-100:])
    found = own.get(f"{inbox}/1").body
    assert found["forwarded"] is True
    assert [one["value"] for one in found["forwardTargets"]] == ["x@example.org", "y@example.org"]
    services.users.set_settings(OPERATOR, user.user_id, {"targets": ["z@example.org"]})
    services.placement.forget(user.user_id)
    assert own.post(f"{inbox}/1/forward", {"target": 2}).body["code"] == "InputValidationError"
    assert own.post(f"{inbox}/1/forward", {"target": 1}).body["forwarded"][0]["value"] == "z@example.org"


def test_what_was_sent_on_is_answered_so_though_the_shard_is_away_then(
    own: Api, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever hears that it failed sends it on again."""
    deliver(services, ORIGINAL, user)
    queue = Forwarding.send

    def away(*_: object) -> None:
        raise StoreUnavailable

    def and_away(*arguments: Any, **named: Any) -> Any:
        queue_ids = queue(*arguments, **named)
        monkeypatch.setattr(Mailboxes, "notes", away)
        return queue_ids

    monkeypatch.setattr(Forwarding, "send", and_away)
    assert own.post(f"{path_of(own, 'INBOX')}/1/forward", {"addresses": ["x@example.org"]}).status == 200
    assert len(services.outbound.list_of_user(user.user_id)) == 1


def test_bytes_are_kept_as_they_come(own: Api, services: MailServices, user: MadeUser) -> None:
    inbox = path_of(own, "INBOX")
    raw = b"Subject: raw\n\xff\x00 bare line ends\n"
    for got in (
        own.post(f"{inbox}?unseen=1&metaData=%7B%22a%22%3A1%7D", None, data=raw, content_type="message/rfc822"),
        own.post(f"{inbox}?date=2020-01-01T00:00:00Z", None, data=raw, content_type="application/octet-stream"),
    ):
        assert got.status == 200, got.body
        place = got.body["message"]
        assert place["size"] == len(raw)
        assert own.get(f"{inbox}/{place['id']}/message.eml").raw == raw
    assert (own.get(f"{inbox}/1").body["seen"], own.get(f"{inbox}/1").body["metaData"]) == (False, {"a": 1})
    assert own.get(f"{inbox}/2").body["idate"] == "2020-01-01T00:00:00.000Z"
    as_text = own.post(inbox, {"raw": "Subject: ä\r\n\r\nx"}).body["message"]
    assert own.get(f"{inbox}/{as_text['id']}/message.eml").raw == "Subject: ä\r\n\r\nx".encode()
    assert own.post(inbox, {}).body["code"] == "EmptyMessage"
    assert own.post(inbox, None, data=b"", content_type="message/rfc822").body["code"] == "EmptyMessage"


def test_who_is_suspended_or_full_sends_nothing(own: Api, services: MailServices, user: MadeUser) -> None:
    said = {"to": [{"address": "x@example.org"}], "text": "x" * 5000}
    services.users.set_quota(OPERATOR, user.user_id, 2000)
    services.placement.forget(user.user_id)
    assert own.post("/users/me/submit", said).body["code"] == "OverQuotaError"
    assert own.post(path_of(own, "INBOX"), said).body["code"] == "OverQuotaError"
    services.users.set_quota(OPERATOR, user.user_id, None)
    services.users.set_state(OPERATOR, user.user_id, State.SUSPENDED)
    services.placement.forget(user.user_id)
    assert services.outbound.list_of_user(user.user_id) == []


def test_nobody_sends_as_somebody_else(own: Api, services: MailServices, user: MadeUser) -> None:
    other = make_user(services)
    said = {"from": {"address": other.address}, "to": [{"address": "x@example.org"}], "text": "x"}
    answer = own.post("/users/me/submit", said)
    assert (answer.status, answer.body["code"]) == (403, "NotPermitted")
    envelope = {"envelope": {"from": {"address": other.address}, "to": [{"address": "y@example.org"}]}, "text": "x"}
    assert own.post("/users/me/submit", envelope).status == 403
    assert own.post("/users/me/submit", {"text": "x"}).body["code"] == "ENORECIPIENTS"
    assert services.outbound.list_of_user(user.user_id) == []


def test_a_dry_run_sends_nothing(own: Api, services: MailServices, user: MadeUser) -> None:
    said = {"to": [{"address": "x@example.org"}], "text": "x"}
    answer = own.post("/users/me/submit?dry_run=true", said)
    assert answer.body["plan"] == [{"change": "mail.submission", "recipients": 1}]
    assert own.post(f"{path_of(own, 'INBOX')}?dry_run=true", said).body["plan"][0]["change"] == "mail.append"
    assert services.outbound.list_of_user(user.user_id) == []
    assert own.get(path_of(own, "INBOX")).body["total"] == 0


def test_drafts_and_uploads_are_not_sent(own: Api, services: MailServices, user: MadeUser) -> None:
    said = {"to": [{"address": "x@example.org"}], "text": "x"}
    draft = own.post("/users/me/submit", said | {"isDraft": True}).body["message"]
    assert own.get(f"{path_of(own, 'Drafts')}/{draft['id']}").body["draft"] is True
    filed = own.post(
        "/users/me/submit", said | {"uploadOnly": True, "draft": {"mailbox": draft["mailbox"], "id": draft["id"]}}
    )
    assert own.get(f"{path_of(own, 'Sent Mail')}/{filed.body['message']['id']}").body["draft"] is False
    assert own.get(path_of(own, "Drafts")).body["total"] == 0
    assert services.outbound.list_of_user(user.user_id) == []


@pytest.mark.parametrize("field", ["to", "cc", "bcc", "from", "replyTo"])
def test_an_address_that_is_none_is_told(own: Api, field: str) -> None:
    wrong: Any = {"address": "nobody", "name": "x"}
    given = {"text": "x", "to": [{"address": "x@example.org"}]} | {
        field: [wrong] if field in {"to", "cc", "bcc"} else wrong
    }
    answer = own.post("/users/me/submit", given)
    assert (answer.status, answer.body["code"]) == (400, "InputValidationError")
    assert any(name.startswith(field) for name in answer.body["details"])


# -- what is sent on by hand is sent ----------------------------------------------------------


def sent_on(own: Api, services: MailServices, user: MadeUser, count: int) -> list[Answer]:
    """Send a message of one's own making on, so many times."""
    deliver(services, ORIGINAL, user)
    path = path_of(own, "INBOX")
    return [own.post(f"{path}/1/forward", {"addresses": [f"x{number}@example.org"]}) for number in range(count)]


def check_counts(own: Api, services: MailServices, user: MadeUser) -> None:
    """It counts as a message that somebody wrote does: for the user's hour, as for the tenant's day."""
    services.users.set_limit(OPERATOR, user.user_id, "messages_per_hour", 2)
    answers = sent_on(own, services, user, 3)
    assert [answer.status for answer in answers] == [200, 200, 403]
    assert len(services.outbound.list_of_user(user.user_id)) == 2
    assert services.usage.used_of_tenant(user.tenant_id)["tenant_recipients_per_day"] == 2
    services.reputation.flush()
    assert services.reputation.of_tenant(user.tenant_id).day.limited == 1


def test_what_is_sent_on_by_hand_counts(own: Api, services: MailServices, user: MadeUser) -> None:
    check_counts(own, services, user)


def test_control_what_is_sent_on_by_hand_and_not_counted_passes_every_limit(
    own: Api, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Submission, "spend", lambda *_: None)
    with pytest.raises(AssertionError):
        check_counts(own, services, user)


def test_what_is_sent_on_by_hand_is_held_with_a_burst_and_with_its_sender(
    own: Api, services: MailServices, user: MadeUser
) -> None:
    services.users.set_limit(OPERATOR, user.user_id, "recipients_per_burst", 1)
    sent_on(own, services, user, 2)
    services.sending_holds.hold(OPERATOR, user.tenant_id, user.user_id, HoldCause.STAFF, "a look")
    services.users.set_limit(OPERATOR, user.user_id, "recipients_per_burst", 0)
    sent_on(own, services, user, 1)
    entries = services.outbound.list_of_user(user.user_id)
    assert [(entry.state, entry.reason) for entry in entries] == [(EntryState.HELD, Reason.API)] * 3
    services.sending_holds.keep(OPERATOR, user.tenant_id, user.user_id, "it goes on", stops=True)
    (refused,) = sent_on(own, services, user, 1)
    assert refused.status == 403
    assert len(services.outbound.list_of_user(user.user_id)) == 3
