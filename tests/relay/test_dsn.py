"""Reports as senders asked for them (RFC 3461, RFC 3464, RFC 6533), and to whom they never go."""

from __future__ import annotations

import os
from dataclasses import replace

import dkim
import pytest

from mailcore.model.outbound import Notify, OutboundRecipient, ReturnContent
from mailcore.relay.server import background
from tests.builders import OPERATOR
from tests.relay.conftest import MESSAGE, Relaying
from tests.stubs.outside import Behaviour

REFUSES = Behaviour(recipient="550 5.1.1 no such user here")
WITHOUT_DSN = Behaviour(extensions=("PIPELINING", "8BITMIME"))


def asking(address: str, *when: Notify, original: str | None = None) -> OutboundRecipient:
    return OutboundRecipient(address, frozenset(when), original)


def test_failure_names_everything_a_sender_needs(relaying: Relaying) -> None:
    relaying.world.domain("dsn1.test", REFUSES)
    queue_id = relaying.send(
        asking("bob@dsn1.test", Notify.FAILURE, original="rfc822;robert@alias.test"),
        envelope_id="QQ+314",
        return_content=ReturnContent.FULL,
    )
    (report,) = relaying.reports()
    of_message, of_recipient = report.fields
    assert of_message["Reporting-MTA"] == "dns; relay.eider.test"
    assert of_message["Original-Envelope-Id"] == "QQ+314"
    assert of_recipient == {
        "Original-Recipient": "rfc822; robert@alias.test",
        "Final-Recipient": "rfc822; bob@dsn1.test",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.dsn1.test",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user here",
        "Last-Attempt-Date": of_recipient["Last-Attempt-Date"],
    }
    assert "no such user here" in report.text
    assert queue_id in report.text
    assert report.part(2).get_content_type() == "message/rfc822"
    assert report.message["To"] == f"<{relaying.user.address}>"
    assert report.message["Auto-Submitted"] == "auto-replied"
    assert report.message["In-Reply-To"] == "<1@here.test>"
    assert relaying.inbox()[-1].endswith(MESSAGE + b"\r\n--report-" + queue_id.encode() + b"-failed--\r\n")
    assert relaying.inbox()[-1].startswith(b"Return-Path: <>\r\n")


def test_headers_alone_where_that_was_asked_for(relaying: Relaying) -> None:
    relaying.world.domain("dsn2.test", REFUSES)
    relaying.send("bob@dsn2.test", return_content=ReturnContent.HEADERS)
    part = relaying.reports()[0].part(2)
    assert part.get_content_type() == "text/rfc822-headers"
    assert "Hello\r\n" not in str(part.get_payload()).partition("\r\n\r\n")[2]


def test_large_message_does_not_come_back_whole(relaying: Relaying) -> None:
    relaying.world.domain("dsn3.test", REFUSES)
    relaying.send("bob@dsn3.test", message=MESSAGE + b"x" * 70 + b"\r\n" * 40_000)
    assert relaying.reports()[0].part(2).get_content_type() == "text/rfc822-headers"


def test_never_means_never(relaying: Relaying) -> None:
    relaying.world.domain("dsn4.test", REFUSES)
    relaying.send(asking("bob@dsn4.test"))
    assert relaying.reports() == []


def test_nobody_is_told_of_mail_from_nobody(relaying: Relaying) -> None:
    """RFC 5321 §4.5.5: a report on a report would go in circles."""
    relaying.world.domain("dsn5.test", REFUSES)
    relaying.send("bob@dsn5.test", reverse_path="")
    assert relaying.run() == 0
    assert relaying.inbox() == []


def test_report_that_cannot_be_delivered_is_dropped(relaying: Relaying) -> None:
    relaying.world.domain("dsn6.test", REFUSES)
    queue_id = relaying.send("bob@dsn6.test", reverse_path="gone@dsn6.test")
    entries = relaying.services.outbound.list_of_user(relaying.user.user_id, waiting=False)
    assert len(entries) == 2
    assert {entry.reverse_path for entry in entries} == {"gone@dsn6.test", ""}
    assert relaying.entry(queue_id).recipients[0].reported == {"failed"}


def test_success_is_told_only_if_asked_and_by_whom_it_is_known(relaying: Relaying) -> None:
    """RFC 3461 §5.2: a server that knows DSN tells itself; of one that does not we tell that it was passed on."""
    knows = relaying.world.domain("dsn7.test")
    relaying.world.domain("dsn8.test", WITHOUT_DSN)
    relaying.send(
        asking("bob@dsn7.test", Notify.SUCCESS, Notify.FAILURE, original="rfc822;x@y.test"),
        asking("bob@dsn8.test", Notify.SUCCESS),
        "carol@dsn8.test",
        envelope_id="a b",
    )
    assert knows.accepted[0].recipients == ("TO:<bob@dsn7.test> NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;x@y.test",)
    assert knows.accepted[0].mail.endswith(" ENVID=a+20b")
    (report,) = relaying.reports()
    assert [(block["Final-Recipient"], block["Action"]) for block in report.fields[1:]] == [
        ("rfc822; bob@dsn8.test", "relayed")
    ]


def test_delivery_here_is_told_as_delivered(relaying: Relaying) -> None:
    relaying.send(asking(relaying.user.address, Notify.SUCCESS))
    (report,) = relaying.reports()
    assert (report.fields[1]["Action"], report.fields[1]["Status"]) == ("delivered", "2.1.5")


def test_report_is_queued_once_whatever_is_killed(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the report and the mark that it was sent: the next relay finds the same report under its key."""
    relaying.world.domain("dsn9.test", REFUSES)
    record = type(relaying.parts.work).record
    calls = []

    def dies(self: object, claim: object, changes: object, **more: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        record(self, claim, changes, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(type(relaying.parts.work), "record", dies)
    with pytest.raises(KeyboardInterrupt):
        relaying.send("bob@dsn9.test", key=b"dsn9")
    for shard in relaying.services.placement.shards():
        shard.hot["outbound"].update_many({"is_leased": True}, [{"$set": {"next_at": "$$NOW"}}])
    relaying.run()
    assert len(relaying.reports()) == 1


def test_addresses_beyond_ascii(relaying: Relaying) -> None:
    """RFC 6533: the status part is in UTF-8, and says so."""
    relaying.world.domain("xn--bcher-kva.test", REFUSES)
    relaying.send("jörg@bücher.test", is_utf8=True)
    (report,) = relaying.reports()
    part = report.part(1)
    assert part.get_content_type() == "message/global-delivery-status"
    assert "\r\nFinal-Recipient: utf-8; jörg@bücher.test\r\n".encode() in relaying.inbox()[-1]


def test_words_of_the_other_server_make_no_field(relaying: Relaying) -> None:
    """Attack M8: whatever it answers is one line of text in the report."""
    evil = "550-5.1.1 no\r\x0bX-Injected: yes\n550 5.1.1 \u2028Status: 2.0.0"
    relaying.world.domain("dsn10.test", Behaviour(recipient=evil))
    relaying.send("bob@dsn10.test")
    (report,) = relaying.reports()
    assert set(report.fields[1]) == {
        "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date"
    }  # fmt: skip
    assert report.fields[1]["Status"] == "5.1.1"


def of_own_domain(relaying: Relaying, name: str) -> Relaying:
    """The relay of a host whose own domain is another."""
    settings = replace(relaying.services.settings, forward_domain=name)
    return replace(relaying, parts=background(relaying.services, settings)._parts)


@pytest.mark.parametrize("address", ["bob@dsn11.test", "jörg@dsn11.test"])
def test_report_is_signed_with_the_keys_of_our_own_domain(relaying: Relaying, address: str) -> None:
    services, name = relaying.services, f"own-{os.urandom(4).hex()}.test"
    services.domains.create(OPERATOR, relaying.user.tenant_id, name)
    key = services.dkim_keys.create(OPERATOR, relaying.user.tenant_id, name)
    services.dkim_keys.activate(OPERATOR, relaying.user.tenant_id, key.id)
    relaying.world.domain("dsn11.test", REFUSES)
    of_own_domain(relaying, name).send(address, is_utf8=not address.isascii())
    (report,) = relaying.reports()
    assert report.message.get_all("DKIM-Signature", [])[0].count(f"d={name};") == 1
    raw, asked = relaying.inbox()[-1], []

    def look_up(record: bytes, timeout: int = 5) -> bytes:
        asked.append(record.decode().rstrip("."))
        return key.record_value.encode()

    assert dkim.verify(raw, dnsfunc=look_up)
    assert asked == [key.record_name.rstrip(".")]
    assert not dkim.verify(raw.replace(b"Undelivered", b"Delivered"), dnsfunc=look_up)
    assert not dkim.verify(raw.replace(b"5.1.1", b"5.1.2"), dnsfunc=look_up)


def test_report_of_a_domain_without_keys_goes_out_unsigned(relaying: Relaying) -> None:
    name = f"own-{os.urandom(4).hex()}.test"
    relaying.services.domains.create(OPERATOR, relaying.user.tenant_id, name)
    relaying.world.domain("dsn12.test", REFUSES)
    of_own_domain(relaying, name).send("bob@dsn12.test")
    of_own_domain(relaying, "nobodys.test").send("bob@dsn12.test")
    assert [report.message["DKIM-Signature"] for report in relaying.reports()] == [None, None]
