"""What a mail user reads of what was sent: one's own alone, as far as it is, and what can still be done about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId
from flask import Flask

from mailcore.model.ids import UserId
from mailcore.model.outbound import (
    BURST,
    EntryState,
    OutboundEntry,
    OutboundRecipient,
    QueueId,
    Reason,
    RecipientState,
    RecipientStatus,
)
from mailcore.services import MailServices
from mailcore.services.outbound.outbound import entry_of
from mailcore.services.outbound.submission import SUBJECT_CHARACTERS, Sender, Submitted
from mailcore.services.outbound.trace import Step, TraceRow
from portal.own import sent
from portal.own.fates import NAMES, Fate, fate_of, of_recipient, sentence
from tests.builders import OPERATOR
from tests.portal.conftest import Browser, MadeOrganisation
from tests.portal.people import SENT_SUBJECT, browser_of_user, queued, text_of, user_of

LEASE = timedelta(seconds=60)
NOW = datetime(2030, 1, 1, tzinfo=UTC)
Queue = Callable[..., QueueId]


@pytest.fixture
def user_id(mail_services: MailServices, organisation: MadeOrganisation) -> UserId:
    return user_of(mail_services, organisation, "Ada Lovelace")


@pytest.fixture
def browser(portal_app: Flask, mail_services: MailServices, user_id: UserId) -> Browser:
    return browser_of_user(portal_app, mail_services, user_id)


@pytest.fixture
def queue(mail_services: MailServices, user_id: UserId) -> Queue:
    """Return `queue(**more)`: a message of the user that goes out in an hour."""
    return lambda **more: queued(mail_services, user_id, **more)


def state(mail: MailServices, user_id: UserId, queue_id: str) -> EntryState:
    return mail.outbound.get(user_id, queue_id).state


def test_what_was_sent_is_listed_with_how_far_it_is(browser: Browser, queue: Queue) -> None:
    assert "Nothing sent in the last seven days" in text_of(browser.get("/account/sent/"))
    queue_id = queue()
    queue(held="administrator")
    queue(reason=Reason.AUTOREPLY)
    page = text_of(browser.get("/account/sent/"))
    assert page.count("bob@else.test") == 2, "an automatic answer is nothing that somebody wrote"
    assert "scheduled" in page
    assert "held back" in page
    shown = text_of(browser.get(f"/account/sent/{queue_id}"))
    assert "Nobody has it yet: take it back, or send it now." in shown
    assert "Taken over to be sent" in shown
    assert page.count(SENT_SUBJECT) == 2
    assert SENT_SUBJECT in shown


def test_the_subject_is_read_as_it_was_meant(browser: Browser, mail_services: MailServices, user_id: UserId) -> None:
    user = mail_services.users.get(user_id)
    encoded = b"=?utf-8?q?R=C3=A4ucherlachs_=3Cb=3E?="
    raw = b"From: " + user.address.encode() + b"\r\nSubject: " + encoded + b"\r\n " + b"x" * 500 + b"\r\n\r\nhi\r\n"
    submitted = Submitted(raw, user.address, [OutboundRecipient("bob@else.test")], "ESMTPSA")
    taken = mail_services.submission.submit(OPERATOR, Sender(user.id, user.tenant_id, user.address), submitted)
    assert len(mail_services.outbound.get(user_id, taken.queue_id).subject) == SUBJECT_CHARACTERS
    for path in ("/account/sent/", f"/account/sent/{taken.queue_id}"):
        page = text_of(browser.get(path))
        assert "Räucherlachs &lt;b&gt; xxx" in page


def test_a_subject_of_half_a_character_is_sent_and_shown(
    browser: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    user = mail_services.users.get(user_id)
    raw = f"From: {user.address}\r\nSubject: =?utf-7?q?half_+2AA-?=\r\n\r\nhi\r\n".encode()
    submitted = Submitted(raw, user.address, [OutboundRecipient("bob@else.test")], "ESMTPSA")
    mail_services.submission.submit(OPERATOR, Sender(user.id, user.tenant_id, user.address), submitted)
    assert "half ?" in text_of(browser.get("/account/sent/"))


@pytest.mark.parametrize(("language", "heading"), [("en", "Subject"), ("de", "Betreff")])
def test_of_what_was_sent_before_no_subject_is_known(
    browser: Browser, queue: Queue, language: str, heading: str
) -> None:
    queue_id = queue(subject="")
    for path in ("/account/sent/", f"/account/sent/{queue_id}"):
        page = text_of(browser.get(path, headers={"Accept-Language": language}))
        assert re.search(rf"{heading}(</dt><dd>|\" class=\"words\">)–<", page)


def test_the_answer_of_the_other_server_is_shown(
    browser: Browser, queue: Queue, mail_services: MailServices, user_id: UserId
) -> None:
    queue_id = queue()
    entries = mail_services.placement.home(user_id).shard.outbound
    mail_services.outbound.retry(OPERATOR, user_id, queue_id)
    claimed = claim(mail_services, user_id, queue_id)
    answer = {"code": 550, "enhanced": "5.1.1", "text": "no such user here", "remote": "mx.else.test"}
    fields = {"recipients.0.state": "failed", "recipients.0.attempts": 1, "recipients.0.answer": answer}
    entries.finish(claimed["_id"], claimed["lease"], datetime.now(UTC) + timedelta(days=7), fields)
    user = mail_services.users.get(user_id)
    row = TraceRow(Step.FAILED, queue_id, "<1@here.test>", user.address, "bob@else.test", user_id)
    mail_services.trace.note(user.tenant_id, row)
    mail_services.trace.note(user.tenant_id, replace(row, user_id=UserId(ObjectId()), recipient="other@secret.test"))
    mail_services.trace.flush()
    page = text_of(browser.get(f"/account/sent/{queue_id}"))
    assert "550 no such user here" in page
    assert "mx.else.test" in page
    assert "Could not be delivered" in page
    assert "Take back" not in page
    assert "other@secret.test" not in page, "a step of somebody else under the same queue id"


def claim(mail: MailServices, user_id: UserId, queue_id: str) -> dict[str, object]:
    """Lease the entry as a relay does, whatever else is due in this database."""
    entries = mail.placement.home(user_id).shard.outbound
    while (claimed := entries.claim(LEASE, ())) is not None:
        if entry_of(claimed).id == queue_id:
            return claimed
    raise AssertionError("it is not due")


def test_it_is_taken_back(browser: Browser, queue: Queue, mail_services: MailServices, user_id: UserId) -> None:
    queue_id = queue()
    browser.post(f"/account/sent/{queue_id}/take-back")
    assert state(mail_services, user_id, queue_id) is EntryState.CANCELLED
    assert "taken back" in text_of(browser.get(f"/account/sent/{queue_id}"))
    browser.post(f"/account/sent/{queue_id}/take-back")
    assert "It is too late" in text_of(browser.get("/account/sent/"))


def test_it_is_sent_now(browser: Browser, queue: Queue, mail_services: MailServices, user_id: UserId) -> None:
    queue_id = queue()
    browser.post(f"/account/sent/{queue_id}/now")
    assert "on its way" in text_of(browser.get(f"/account/sent/{queue_id}"))
    claim(mail_services, user_id, queue_id)
    for act in ("take-back", "now"):
        browser.post(f"/account/sent/{queue_id}/{act}")
        assert "It is being sent this moment." in text_of(browser.get("/account/sent/"))
    assert state(mail_services, user_id, queue_id) is EntryState.QUEUED


def test_what_is_held_is_taken_back_but_not_let_go(
    browser: Browser, queue: Queue, mail_services: MailServices, user_id: UserId
) -> None:
    queue_id = queue(held=BURST)
    page = text_of(browser.get(f"/account/sent/{queue_id}"))
    assert "Your outgoing mail is on hold." in page
    assert "Send now" not in page
    browser.post(f"/account/sent/{queue_id}/now")
    assert state(mail_services, user_id, queue_id) is EntryState.HELD
    browser.post(f"/account/sent/{queue_id}/take-back")
    assert state(mail_services, user_id, queue_id) is EntryState.CANCELLED


def reached(browser: Browser, *queue_ids: str) -> list[str]:
    """What a browser gets at that it should not."""
    found = [one for one in queue_ids if browser.get(f"/account/sent/{one}").status_code != 404]
    posts = [f"/account/sent/{one}/{act}" for one in queue_ids for act in ("take-back", "now")]
    return found + [path for path in posts if browser.post(path).status_code != 404]


def test_anothers_mail_is_not_there(
    browser: Browser, mail_services: MailServices, organisation: MadeOrganisation, user_id: UserId
) -> None:
    colleague = user_of(mail_services, organisation)
    others = queued(mail_services, colleague, "to@secret.test")
    answer = queued(mail_services, user_id, reason=Reason.AUTOREPLY)
    assert reached(browser, others, answer, "nonsense") == []
    assert "secret.test" not in text_of(browser.get("/account/sent/"))
    assert state(mail_services, colleague, others) is EntryState.QUEUED


def test_control_an_entry_of_anybody_is_seen(
    browser: Browser, mail_services: MailServices, organisation: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    colleague = user_of(mail_services, organisation)
    others = queued(mail_services, colleague)
    monkeypatch.setattr(sent, "_entry", lambda _user_id, sent_id: mail_services.outbound.get(colleague, sent_id))
    assert reached(browser, others) != []


def test_further_pages_leave_nothing_out(
    browser: Browser, queue: Queue, mail_services: MailServices, user_id: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sent, "PAGE", 2)
    ids = [queue() for _ in range(5)]
    entries, after = [], ""
    while found := mail_services.outbound.list_authored(user_id, 2, after):
        entries += [one.id for one in found]
        after = found[-1].id
    assert entries == ids[::-1]
    page = text_of(browser.get("/account/sent/"))
    assert f"/account/sent/?after={ids[3]}" in page
    assert ids[2] in text_of(browser.get(f"/account/sent/?after={ids[3]}"))
    assert browser.get("/account/sent/?after=nonsense").status_code == 200


def recipient(found: RecipientState, attempts: int = 1, *, is_local: bool = False) -> RecipientStatus:
    return RecipientStatus("bob@else.test", None, None, found, attempts, is_local=is_local)


@pytest.mark.parametrize(
    ("found", "recipients", "fate"),
    [
        (EntryState.QUEUED, [recipient(RecipientState.QUEUED, 0)], Fate.SCHEDULED),
        (EntryState.QUEUED, [recipient(RecipientState.QUEUED)], Fate.DELAYED),
        (EntryState.HELD, [recipient(RecipientState.QUEUED)], Fate.HELD),
        (EntryState.DONE, [recipient(RecipientState.SENT)], Fate.DELIVERED),
        (EntryState.DONE, [recipient(RecipientState.FAILED)], Fate.FAILED),
        (EntryState.DONE, [recipient(RecipientState.FAILED), recipient(RecipientState.SENT)], Fate.PARTLY),
        (EntryState.CANCELLED, [recipient(RecipientState.CANCELLED)], Fate.TAKEN_BACK),
    ],
)
def test_fates(
    portal_app: Flask, queue: Queue, mail_services: MailServices, user_id: UserId,
    found: EntryState, recipients: list[RecipientStatus], fate: Fate,
) -> None:  # fmt: skip
    known: OutboundEntry = mail_services.outbound.get(user_id, queue())
    entry = replace(known, state=found, recipients=tuple(recipients), next_at=NOW + timedelta(hours=1))
    assert fate_of(entry, NOW) is fate
    with portal_app.test_request_context():
        assert sentence(entry, fate)
        assert all(word for one in recipients for word in of_recipient(one, fate))
    if fate is Fate.SCHEDULED:
        assert fate_of(replace(entry, is_leased=True), NOW) is Fate.ON_ITS_WAY
        assert fate_of(replace(entry, next_at=NOW), NOW) is Fate.ON_ITS_WAY


def test_every_fate_has_words() -> None:
    assert set(NAMES) == set(Fate)
