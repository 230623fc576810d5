"""The compliance journal: one report of each transaction, byte for byte, or no delivery."""

from __future__ import annotations

import time
from dataclasses import replace
from email import message_from_bytes
from email.policy import default

import pytest
from bson import ObjectId

from mailcore.errors import JournalUnavailable, StoreUnavailable, UserNotFound
from mailcore.model.filter import RuleAction, RuleContent, of_user
from mailcore.model.ids import UserId
from mailcore.services import MailServices
from mailcore.services.content.content import ContentStore
from mailcore.services.events.journal import Direction, Journal, JournalEntry
from mailcore.smtp.replies import reply_for
from tests.builders import OPERATOR, MadeUser, make_user
from tests.services.inbound_mail import mail, take

RAW = b"From: a@out.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@out.example>\r\n\r\nbody\r\n"


@pytest.fixture
def archive(services: MailServices) -> MadeUser:
    made = make_user(services)
    services.journal.set_archive(OPERATOR, made.tenant_id, made.user_id)
    return made


def entry(user: MadeUser, ident: str | None = "Q1", raw: bytes = RAW) -> JournalEntry:
    paths = ("one@in.example", "two@in.example")
    return JournalEntry(user.tenant_id, Direction.INCOMING, "a@out.example", paths, raw, ident)


def reports(services: MailServices, user: MadeUser) -> list[bytes]:
    view = services.mailboxes.open(user.user_id, "INBOX")
    return [b"".join(services.content.open(user.user_id, oid.tobytes()).read()) for oid in view.message_oids]


def test_a_report_says_who_sent_what_to_whom_and_holds_the_message(services: MailServices, archive: MadeUser) -> None:
    assert services.journal.record(OPERATOR, entry(archive))
    (raw,) = reports(services, archive)
    report = message_from_bytes(raw, policy=default)
    assert report["X-Journal-Report"] == "incoming"
    assert report["Subject"] == "Grüße"
    facts, attached = report.iter_parts()
    lines = facts.get_content().splitlines()
    assert lines[:4] == [
        "Direction: incoming",
        "Sender: a@out.example",
        "Subject: Grüße",
        "Message-Id: <1@out.example>",
    ]
    assert lines[5:7] == ["Recipient: one@in.example", "Recipient: two@in.example"]
    assert attached.get_content_type() == "message/rfc822"
    assert RAW in raw


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no header at all",
        b"Subject: " + b"x" * 5000 + b"\r\n\r\n",
        b"Subject: a\r\n evil\r\n\r\n\0binary\n.\n",
        b"Subject: \xff\xfe\r\n\r\n" + b"y" * 5000,
        b"Subject: x\rBcc: z\r\n\r\n--journal-\r\n",
    ],
)
def test_any_message_is_kept_to_the_byte_and_forges_no_field(
    services: MailServices, archive: MadeUser, raw: bytes
) -> None:
    hostile = replace(entry(archive, None, raw), reverse_path="a\r\nRecipient: forged@x", forward_paths=("b\nX: y",))
    services.journal.record(OPERATOR, hostile)
    (stored,) = reports(services, archive)
    assert raw in stored
    report = message_from_bytes(stored, policy=default)
    assert set(report.keys()) == {
        "Date", "From", "To", "Subject", "Message-ID", "X-Journal-Report", "Auto-Submitted", "MIME-Version",
        "Content-Type",
    }  # fmt: skip
    facts, _ = report.iter_parts()
    assert [line for line in facts.get_content().splitlines() if line.startswith(("Recipient", "X"))] == [
        "Recipient: b X: y"
    ]


def test_a_repeat_is_reported_once_and_another_transaction_again(services: MailServices, archive: MadeUser) -> None:
    for _ in range(3):
        services.journal.record(OPERATOR, entry(archive))
    assert len(reports(services, archive)) == 1
    services.journal.record(OPERATOR, replace(entry(archive), forward_paths=("three@in.example",)))
    services.journal.record(OPERATOR, entry(archive, "Q2"))
    services.journal.record(OPERATOR, replace(entry(archive), direction=Direction.OUTGOING))
    assert len(reports(services, archive)) == 4
    for _ in range(2):
        services.journal.record(OPERATOR, entry(archive, None))
    assert len(reports(services, archive)) == 6


def test_a_report_that_was_cut_off_is_made_by_the_repeat(
    services: MailServices, archive: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(services.messages, "commit_rows", die)
        with pytest.raises(Died):
            services.journal.record(OPERATOR, entry(archive))
    assert reports(services, archive) == []
    for _ in range(2):
        services.journal.record(OPERATOR, entry(archive))
    assert len(reports(services, archive)) == 1


def test_who_has_none_pays_nothing(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user(services)
    at = time.monotonic()
    monkeypatch.setattr(services.placement, "_clock", lambda: at)
    services.placement.home(user.user_id)
    monkeypatch.setattr(services.placement.directory.tenants, "find", lambda _: pytest.fail("asked"))
    assert not services.journal.record(OPERATOR, entry(user))


def test_a_journal_that_cannot_take_it_stops_the_message_for_now(
    services: MailServices, archive: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(ContentStore, "put", away)
        with pytest.raises(JournalUnavailable):
            services.journal.record(OPERATOR, entry(archive))
    services.placement.directory.users.delete(archive.user_id)
    services.placement.forget(archive.user_id)
    with pytest.raises(JournalUnavailable):
        services.journal.record(OPERATOR, entry(archive))


def test_only_a_user_of_the_tenant_may_be_the_archive(services: MailServices, archive: MadeUser) -> None:
    stranger = make_user(services)
    for user_id in (stranger.user_id, UserId(ObjectId())):
        with pytest.raises(UserNotFound):
            services.journal.set_archive(OPERATOR, archive.tenant_id, user_id)
    services.journal.set_archive(OPERATOR, archive.tenant_id, None)
    assert not services.journal.record(OPERATOR, entry(archive))
    assert reports(services, archive) == []


def test_a_key_of_chance_would_be_seen(
    services: MailServices, archive: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the report that is made once."""
    key = JournalEntry.key
    monkeypatch.setattr(JournalEntry, "key", lambda self: key(replace(self, ident=None)))
    for _ in range(2):
        services.journal.record(OPERATOR, entry(archive))
    assert len(reports(services, archive)) == 2
    assert isinstance(services.journal, Journal)


# -- where mail comes in ------------------------------------------------------------------------


def test_what_comes_in_is_reported_once_for_all_recipients_of_the_tenant(
    services: MailServices, archive: MadeUser
) -> None:
    """And nobody else's copy shows anything of it; rules of a recipient that drops it change nothing."""
    place = (archive.tenant_id, archive.address.partition("@")[2])
    one, two, stranger = make_user(services, tenant=place), make_user(services, tenant=place), make_user(services)
    services.filters.create(OPERATOR, of_user(two.user_id), RuleContent(action=RuleAction(delete=True)))
    services.filters.create(OPERATOR, of_user(archive.user_id), RuleContent(action=RuleAction(delete=True)))
    raw = mail(one.address)
    for _ in range(2):
        assert take(services, raw, one.address, two.address, stranger.address, ident="J1") == [None] * 3
    (report,) = reports(services, archive)
    facts, _ = message_from_bytes(report, policy=default).iter_parts()
    recipients = [line for line in facts.get_content().splitlines() if line.startswith("Recipient")]
    assert recipients == [f"Recipient: {one.address}", f"Recipient: {two.address}"]
    assert raw in report
    for user in (one, stranger):
        (copy,) = reports(services, user)
        assert copy.endswith(raw)
        assert b"ournal" not in copy
    assert reports(services, two) == []
    assert services.outbound.list_of_tenant(archive.tenant_id) == []


def test_without_the_report_nothing_is_taken_for_that_tenant_and_the_sender_tries_again(
    services: MailServices, archive: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make_user(services, tenant=(archive.tenant_id, archive.address.partition("@")[2]))
    stranger, raw = make_user(services), mail(user.address)

    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_put", away)
        refused, taken = take(services, raw, user.address, stranger.address, ident="J2")
    assert isinstance(refused, JournalUnavailable)
    assert reply_for(refused).code == 451
    assert taken is None
    assert reports(services, user) == []
    assert take(services, raw, user.address, ident="J2") == [None]
    assert (len(reports(services, user)), len(reports(services, archive))) == (1, 1)


def test_a_journal_that_is_only_tried_would_be_seen(
    services: MailServices, archive: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: mail that is taken without its report."""
    monkeypatch.setattr(Journal, "record", lambda *_: False)
    user = make_user(services, tenant=(archive.tenant_id, archive.address.partition("@")[2]))
    assert take(services, mail(user.address), user.address) == [None]
    assert (len(reports(services, user)), len(reports(services, archive))) == (1, 0)
