"""Reports of other services that mail from here was taken for abuse (RFC 5965): believed as far as they are ours."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId

from mailcore.errors import StoreUnavailable
from mailcore.model.ids import UserId
from mailcore.model.outbound import OutboundRecipient, QueueId, RecipientState
from mailcore.services import MailServices
from mailcore.services.outbound import feedback
from mailcore.services.outbound.origin_marks import OriginMarks
from mailcore.services.outbound.submission import Sender, Submitted
from mailcore.services.outbound.trace import Step
from mailcore.services.process.clock import now
from mailcore.store.user.complaints import Complaints
from tests.builders import OPERATOR, MadeUser, make_user
from tests.relay.conftest import Relaying
from tests.services.inbound_mail import box, take

FBL = "fbl@relay.eider.test"
_numbers = itertools.count(1)


def sent(relaying: Relaying, *to: str) -> bytes:
    """Submit and relay a message; return it as the first recipient's server got it."""
    host = to[0].partition("@")[2]
    exchanger = relaying.world.exchangers.get(f"mx.{host}") or relaying.world.domain(host)
    user = relaying.user
    raw = f"From: {user.address}\r\nTo: {to[0]}\r\nMessage-ID: <{next(_numbers)}@here.test>\r\n\r\nBuy!\r\n"
    submitted = Submitted(raw.encode(), user.address, [OutboundRecipient(each) for each in to], "ESMTPSA")
    relaying.services.submission.submit(OPERATOR, Sender(user.user_id, user.tenant_id, user.address), submitted)
    relaying.run()
    relaying.services.trace.flush()
    return exchanger.taken[-1].message


def report(original: bytes, *fields: str, kind: str = "abuse", on_top: str = "", part: str = "message/rfc822") -> bytes:
    """What a service sends of a message."""
    said = "\r\n".join([f"Feedback-Type: {kind}", "User-Agent: Test-FBL/1.0", "Version: 1", *fields])
    return (
        f"{on_top}From: <fbl@big.test>\r\nSubject: FW: Buy!\r\nMessage-ID: <{next(_numbers)}@big.test>\r\n"
        'MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nThis is a report.\r\n"
        f"--b\r\nContent-Type: message/feedback-report\r\n\r\n{said}\r\n\r\n"
        f"--b\r\nContent-Type: {part}\r\n\r\n"
    ).encode() + original + b"\r\n--b--\r\n"  # fmt: skip


def tell(services: MailServices, raw: bytes, to: str = FBL) -> list[Any]:
    answers = take(services, raw, to, sender="")
    services.trace.flush()
    return answers


def outcome(relaying: Relaying, raw: bytes) -> str:
    """What the service makes of a report that comes in."""
    before = _counts()
    assert tell(relaying.services, raw) == [None]
    (changed,) = [name for name, value in _counts().items() if value != before.get(name, 0)]
    return changed


def _counts() -> dict[str, float]:
    (family,) = feedback.FEEDBACK.collect()
    return {sample.labels["outcome"]: sample.value for sample in family.samples}


def complaints(relaying: Relaying) -> int:
    return relaying.services.feedback.rate(relaying.user.tenant_id, now() - timedelta(hours=1)).complaints


def suppressed(relaying: Relaying) -> list[str]:
    return [each.address for each in relaying.services.suppressions.list_of(relaying.user.tenant_id)]


def test_a_complaint_suppresses_the_address_for_the_tenant(relaying: Relaying) -> None:
    original = sent(relaying, "bob@big.test")
    assert tell(relaying.services, report(original, "Original-Rcpt-To: <bob@big.test>")) == [None]
    assert suppressed(relaying) == ["bob@big.test"]
    rate = relaying.services.feedback.rate(relaying.user.tenant_id, now() - timedelta(hours=1))
    assert (rate.complaints, rate.sent) == (1, 1)
    rows = relaying.services.trace.search(relaying.user.tenant_id, recipient="bob@big.test")
    assert [row.step for row in rows] == [Step.COMPLAINED, Step.SENT, Step.QUEUED]
    assert rows[0].detail == {"kind": "abuse", "reporter": "Test-FBL/1.0"}
    again = relaying.send("bob@big.test")
    status = relaying.recipient(again)
    assert status.state is RecipientState.FAILED
    assert status.answer is not None
    assert "reported as abuse by its owner" in status.answer.text
    for sequencer in relaying.services.events.sequencers():
        sequencer.catch_up()
    events = relaying.services.events.read(relaying.user.tenant_id, limit=1000).events
    assert [event.user_id for event in events if event.kind == "feedback.complaint"] == [relaying.user.user_id]


def test_the_same_report_again_does_nothing_new(relaying: Relaying) -> None:
    original = sent(relaying, "bob@big.test")
    assert [outcome(relaying, report(original)) for _ in range(3)] == ["complaint", "repeated", "repeated"]
    assert complaints(relaying) == 1
    rows = relaying.services.trace.search(relaying.user.tenant_id, recipient="bob@big.test")
    assert sum(row.step is Step.COMPLAINED for row in rows) == 1


@pytest.mark.parametrize(
    "fields", [(), ("Original-Rcpt-To: <redacted-1f3@big.test>",), ("Original-Rcpt-To: BOB@Big.test",)]
)
def test_services_may_take_the_recipient_out(relaying: Relaying, fields: tuple[str, ...]) -> None:
    """RFC 6590: the message went to one only."""
    assert outcome(relaying, report(sent(relaying, "bob@big.test"), *fields)) == "complaint"
    assert suppressed(relaying) == ["bob@big.test"]


def test_the_header_of_the_message_is_enough(relaying: Relaying) -> None:
    """RFC 5965 §2 item (d)."""
    header = sent(relaying, "bob@big.test").partition(b"\r\n\r\n")[0] + b"\r\n"
    assert outcome(relaying, report(header, part="text/rfc822-headers")) == "complaint"


SIGNED = "Authentication-Results: relay.eider.test; dkim=pass header.d=big.test header.s=s; spf=none\r\n"
UNSIGNED = (
    "",
    "Authentication-Results: relay.eider.test; dkim=fail header.d=big.test\r\n",
    "Authentication-Results: relay.eider.test; dkim=pass header.d=else.test\r\n",
    'Authentication-Results: relay.eider.test; spf=pass smtp.mailfrom="; dkim=pass header.d=big.test"@evil.test\r\n',
    "Authentication-Results: relay.eider.test; spf=pass (; dkim=pass header.d=big.test) smtp.mailfrom=a@evil.test\r\n",
    "Authentication-Results: elsewhere.test; dkim=pass header.d=big.test\r\n",
)


def test_among_several_only_a_signed_report_names_one(relaying: Relaying) -> None:
    """Else one recipient could complain in another's name."""
    original = sent(relaying, "bob@big.test", "eve@big.test")
    named = "Original-Rcpt-To: <bob@big.test>"
    for on_top in UNSIGNED:
        assert outcome(relaying, report(original, named, on_top=on_top)) == "unknown_recipient", on_top
    assert outcome(relaying, report(original, on_top=SIGNED)) == "unknown_recipient"
    assert suppressed(relaying) == []
    assert outcome(relaying, report(original, named, on_top=SIGNED)) == "complaint"
    assert suppressed(relaying) == ["bob@big.test"]


def _altered(original: bytes) -> bytes:
    at = original.index(b"X-Eider-Origin: ") + 40
    return original[:at] + (b"A" if original[at : at + 1] != b"A" else b"B") + original[at + 1 :]


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no mark": (lambda o: report(o.replace(b"X-Eider-Origin", b"X-Other")), "not_ours"),
    "mark altered": (lambda o: report(_altered(o)), "not_ours"),
    "mark made up": (lambda _: report(b"X-Eider-Origin: " + b"A" * 54 + b"\r\n\r\n"), "not_ours"),
    "mark in the body": (lambda o: report(b"Subject: x\r\n\r\n" + o), "not_ours"),
    "mark in the wrong part": (lambda o: report(b"Subject: x\r\n\r\n", o.decode().splitlines()[1]), "not_ours"),
    "somebody else's address": (lambda o: report(o, "Original-Rcpt-To: <victim@bank.test>"), "unknown_recipient"),
    "not spam": (lambda o: report(o, kind="not-spam"), "no_complaint"),
    "no report": (lambda o: o, "no_report"),
    "two parts": (lambda o: report(o).replace(b"--b\r\nContent-Type: text/plain\r\n\r\nThis", b"This"), "no_report"),
    "huge": (lambda o: report(o + b"x\r\n" * (6 << 20)), "too_large"),
    "ten thousand marks": (lambda o: report(b"X-Eider-Origin: AAAA\r\n" * 10_000 + o), "not_ours"),
    "nothing": (lambda _: report(b""), "not_ours"),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_reports_change_nothing(relaying: Relaying, name: str) -> None:
    original = sent(relaying, "bob@big.test")
    make, expected = HOSTILE[name]
    assert outcome(relaying, make(original)) == expected
    assert (complaints(relaying), suppressed(relaying)) == (0, [])


def test_without_the_seal_anybody_could_complain_of_anybody(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the above: a mark that is believed unseen leads to the message of another's tenant."""
    original = sent(relaying, "bob@big.test")
    (row,) = [row for row in relaying.services.trace.search(relaying.user.tenant_id) if row.step is Step.SENT]
    known = relaying.user.user_id, QueueId(row.queue_id)
    monkeypatch.setattr(OriginMarks, "find", lambda *_: known)
    assert outcome(relaying, report(original.replace(b"X-Eider-Origin", b"X-Other"))) == "complaint"
    assert suppressed(relaying) == ["bob@big.test"]


def test_whom_we_delivered_to_ourselves_is_not_suppressed(relaying: Relaying) -> None:
    """A message that was sent on from a mailbox here: what is complained of is the forwarding."""
    other = make_user(relaying.services, tenant=(relaying.user.tenant_id, relaying.host_users_domain()))
    user = relaying.user
    raw = f"From: {user.address}\r\nMessage-ID: <{next(_numbers)}@here.test>\r\n\r\nHi\r\n".encode()
    submitted = Submitted(raw, user.address, [OutboundRecipient(other.address)], "ESMTPSA")
    relaying.services.submission.submit(OPERATOR, Sender(user.user_id, user.tenant_id, user.address), submitted)
    relaying.run()
    (original,) = relaying.inbox(other)
    assert outcome(relaying, report(original)) == "unknown_recipient"


def test_of_a_sender_that_is_gone_nothing_is_known(relaying: Relaying) -> None:
    marks: OriginMarks = relaying.services.feedback._marks
    mark = marks.field(UserId(ObjectId()), QueueId("ab" * 12))
    assert outcome(relaying, report(mark + b"\r\n")) == "sender_gone"


def test_what_could_not_be_written_down_is_taken_again(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> None:
    original = sent(relaying, "bob@big.test")
    raw = report(original)
    with monkeypatch.context() as patch:

        def away(*_: object) -> None:
            raise StoreUnavailable

        patch.setattr(Complaints, "add", away)
        (error,) = tell(relaying.services, raw)
    assert isinstance(error, StoreUnavailable)
    assert tell(relaying.services, raw) == [None]
    assert complaints(relaying) == 1


def test_postmaster_gets_the_report_and_it_counts(relaying: Relaying) -> None:
    """An address of ours that is a user's too: the report is filed, and acted on."""
    services = relaying.services
    owner = make_user(services)
    domain = "relay.eider.test"
    if not services.domains.is_hosted(domain):
        services.domains.create(OPERATOR, owner.tenant_id, domain)
        services.addresses.create(OPERATOR, owner.user_id, f"postmaster@{domain}")
    holder = services.resolutions.resolve(f"postmaster@{domain}").recipients[0]
    raw = report(sent(relaying, "bob@big.test"))
    assert tell(services, raw, f"Postmaster@{domain}") == [None]
    assert complaints(relaying) == 1
    filed = box(services, MadeUser(holder.user_id, holder.tenant_id, holder.address, ""))
    assert filed[-1].endswith(raw)


def test_mail_to_others_is_no_report(relaying: Relaying) -> None:
    original = sent(relaying, "bob@big.test")
    assert tell(relaying.services, report(original), relaying.user.address) == [None]
    assert complaints(relaying) == 0


def test_rates_are_of_a_time(relaying: Relaying) -> None:
    tell(relaying.services, report(sent(relaying, "bob@big.test")))
    later = relaying.services.feedback.rate(relaying.user.tenant_id, datetime.now().astimezone() + timedelta(minutes=1))
    assert (later.complaints, later.sent) == (0, 0)
