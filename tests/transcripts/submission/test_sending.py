"""From the greeting to the queue: extensions, parameters, and what a message looks like that goes out."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from mailcore.model.access import Scope
from mailcore.model.outbound import EntryState, Notify, OutboundEntry, ReturnContent
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from tests.builders import OPERATOR, make_user
from tests.transcripts.submission.conftest import Client, plain

MESSAGE = (
    b"From: %s\r\nTo: bob@else.test\r\nSubject: x\r\nMessage-ID: <%d@own>\r\n"
    b"Date: Wed, 25 Nov 2026 12:00:00 +0000\r\n\r\nHello\r\n"
)


def message(client: Client, number: int = 1) -> bytes:
    return MESSAGE % (client.user.address.encode(), number)


def test_what_is_announced(connect: Callable[..., Client]) -> None:
    """RFC 1869 §4, each extension as its RFC says; AUTH only under TLS (RFC 4954 §4)."""
    client = connect()
    client.expect("220 mx.test ESMTP Eider ready")
    lines = client.ask("EHLO client.test\r\n")
    assert [line[4:].split()[0] for line in lines] == [
        "mx.test", "PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN",
        "FUTURERELEASE", "AUTH",
    ]  # fmt: skip
    assert lines[-1] == "250 AUTH PLAIN LOGIN OAUTHBEARER XOAUTH2"
    assert re.fullmatch(r"250-FUTURERELEASE \d+ \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", lines[-2])
    client.say("HELO client.test\r\n", "250 mx.test")


def test_one_message(client: Client) -> None:
    """The reply names queue id, tenant and message id; the message goes out as it came below what was added."""
    reply = client.send(message(client), "bob@else.test", "cy@else.test")
    entry = client.queued()[0]
    tenant = client.user.tenant_id
    assert reply == f"250 2.0.0 OK queued as {entry.id} tenant {tenant} message <1@own>"
    assert entry.state is EntryState.QUEUED
    assert entry.reverse_path == client.user.address
    assert [one.address for one in entry.recipients] == ["bob@else.test", "cy@else.test"]
    assert entry.header_message_id == "<1@own>"
    outgoing = client.outgoing()[0]
    *above, rest = outgoing.split(b"\r\n", 3)
    assert above[2].startswith(b"X-Eider-Origin: ")
    assert above[0] == f"Received: by mx.test with ESMTPSA id {entry.id};".encode()
    assert rest == message(client)
    assert client.sent() == [message(client)]


def test_where_the_client_is_stays_here(client: Client) -> None:
    client.send(message(client))
    assert b"198.51.100.7" not in client.outgoing()[0]
    assert b"client.test" not in client.outgoing()[0]


def test_nobody_sends_before_signing_in(connect: Callable[..., Client]) -> None:
    """RFC 6409 §4.3: not even to an address here."""
    client = connect()
    client.unread.clear()
    client.say("MAIL FROM:<a@b.test>\r\n", "503 5.5.1 Introduce yourself first")
    client.ask("EHLO client.test\r\n")
    client.transcript(
        """
        C: MAIL FROM:<{user}>
        S: 530 5.7.0 Sign in first
        C: RCPT TO:<{user}>
        S: 503 5.5.1 Not now
        C: DATA
        S: 503 5.5.1 Not now
        C: BDAT 0 LAST
        S: 503 5.5.1 Not now
        """
    )
    assert client.queued() == []


def test_everything_at_once(connect: Callable[..., Client]) -> None:
    """PIPELINING (RFC 2920): any number of commands in one packet, and the content behind them by BDAT."""
    client = connect()
    client.unread.clear()
    raw = message(client)
    pipelined = (
        f"EHLO client.test\r\nAUTH PLAIN {plain(client.user)}\r\nMAIL FROM:<{client.user.address}>\r\n"
        f"RCPT TO:<bob@else.test>\r\nBDAT {len(raw)} LAST\r\n"
    ).encode() + raw
    for octet in pipelined:
        client.take(client.connection.receive(bytes((octet,))))
    assert [line[:4] for line in client.unread[-4:]] == ["235 ", "250 ", "250 ", "250 "]
    assert client.outgoing()[0].endswith(raw)


def test_reports_as_they_were_asked_for(client: Client) -> None:
    """RFC 3461 §4: RET and ENVID of MAIL, NOTIFY and ORCPT of RCPT go with the message."""
    client.transcript(
        """
        C: MAIL FROM:<{user}> RET=HDRS ENVID=QQ+2B314
        S: 250 2.1.0 Sender accepted
        C: RCPT TO:<a@else.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;A+2Bx@else.test
        S: 250 2.1.5 Recipient accepted
        C: RCPT TO:<b@else.test> NOTIFY=NEVER
        S: 250 2.1.5 Recipient accepted
        C: RCPT TO:<c@else.test> ORCPT=utf-8;b\\x{{FC}}r@else.test
        S: 250 2.1.5 Recipient accepted
        C: RCPT TO:<d@else.test>
        S: 250 2.1.5 Recipient accepted
        C: DATA
        S: 354 End with CRLF.CRLF
        """
    )
    assert client.ask(message(client) + b".\r\n")[0].startswith("250 ")
    entry = client.queued()[0]
    assert (entry.return_content, entry.envelope_id) == (ReturnContent.HEADERS, "QQ+314")
    assert [one.notify for one in entry.recipients] == [
        {Notify.SUCCESS, Notify.FAILURE}, frozenset(), None, None,
    ]  # fmt: skip
    assert [one.original_recipient for one in entry.recipients] == [
        "rfc822;A+x@else.test", None, "utf-8;bür@else.test", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "parameter",
    [
        "RET=ALL", "RET", "ENVID=", "ENVID=+0A", "ENVID=a+b", "ENVID=" + "x" * 101, "HOLDFOR=0", "HOLDFOR=-5",
        "HOLDFOR=99999999", "HOLDUNTIL=tomorrow", "HOLDUNTIL=2999-01-01T00:00:00Z", "HOLDUNTIL=2026-13-01T00:00:00Z",
        "HOLDFOR=10 HOLDUNTIL=2026-11-26T00:00:00Z", "SIZE=many", "SMTPUTF8=yes", "RET=FULL RET=FULL",
    ],
)  # fmt: skip
def test_parameters_of_mail_that_are_malformed(common: Client, parameter: str) -> None:
    assert common.ask(f"MAIL FROM:<{common.user.address}> {parameter}\r\n")[0].startswith("501 ")


@pytest.mark.parametrize(
    "parameter",
    [
        "NOTIFY=", "NOTIFY=NEVER,SUCCESS", "NOTIFY=MAYBE", "ORCPT=a@b", "ORCPT=rfc822;", "ORCPT=rfc822;a+0Db",
        "ORCPT=rfc822;" + "x" * 501, "ORCPT=utf-8;a\\x{0A}b", "NOTIFY",
    ],
)  # fmt: skip
def test_parameters_of_rcpt_that_are_malformed(common: Client, parameter: str) -> None:
    common.ask(f"MAIL FROM:<{common.user.address}>\r\n")
    assert common.ask(f"RCPT TO:<bob@else.test> {parameter}\r\n")[0].startswith("501 ")


def test_unknown_parameters(common: Client) -> None:
    common.say(f"MAIL FROM:<{common.user.address}> BODY=BINARYMIME\r\n", "501 5.5.4 Syntax error in parameters")
    common.say(f"MAIL FROM:<{common.user.address}> MT-PRIORITY=3\r\n", "555 5.5.4 Parameter not recognized")
    common.say(f"MAIL FROM:<{common.user.address}> AUTH=<> BODY=8BITMIME\r\n", "250 2.1.0 Sender accepted")
    common.say("RCPT TO:<bob@else.test> COLOUR=red\r\n", "555 5.5.4 Parameter not recognized")


def test_a_message_may_be_held_for_later(client: Client) -> None:
    """FUTURERELEASE (RFC 4865): an interval, or an instant."""
    at = datetime.now(UTC) + timedelta(hours=3)
    assert client.send(message(client, 1), parameters=" HOLDFOR=7200").startswith("250 ")
    assert client.send(message(client, 2), parameters=f" HOLDUNTIL={at:%Y-%m-%dT%H:%M:%SZ}").startswith("250 ")
    due = [entry.next_at - datetime.now(UTC) for entry in client.queued() if entry.next_at is not None]
    assert [round(one.total_seconds() / 3600) for one in due] == [2, 3]


def test_what_was_sent_may_be_taken_back_for_a_while(client: Client) -> None:
    """The user's setting: no relay gets it meanwhile, and a longer wait that was asked for counts."""
    services, user_id = client.services, client.user.user_id
    services.users.set_settings(OPERATOR, user_id, {"undo_s": 20})
    client.send(message(client, 1))
    client.send(message(client, 2), parameters=" HOLDFOR=7200")
    taken_back, later = client.queued()
    assert [_wait_s(one) for one in (taken_back, later)] == [20, 7200]
    shard = services.placement.home(user_id).shard
    while (claim := services.outbound_work.claim(shard)) is not None:
        assert claim.entry.user_id != user_id, "a relay got it"
    services.outbound.cancel(OPERATOR, user_id, taken_back.id)
    assert services.outbound.get(user_id, taken_back.id).state is EntryState.CANCELLED
    services.users.set_settings(OPERATOR, user_id, {"undo_s": 0})
    client.send(message(client, 3))
    assert _wait_s(client.queued()[-1]) == 0


def _wait_s(entry: OutboundEntry) -> float:
    assert entry.next_at is not None
    return (entry.next_at - entry.created_at).total_seconds()


def test_too_large_is_said_before_it_is_sent(common: Client) -> None:
    """SIZE (RFC 1870 §6.1)."""
    limit = common.services.settings.limits.message_bytes
    common.say(f"MAIL FROM:<{common.user.address}> SIZE={limit + 1}\r\n", "552 5.3.4 Message too large")


def test_as_many_recipients_as_may_be(common: Client) -> None:
    common.ask(f"MAIL FROM:<{common.user.address}>\r\n")
    limit = common.services.settings.limits.recipients
    for number in range(limit):
        assert common.ask(f"RCPT TO:<r{number}@else.test>\r\n")[0].startswith("250 ")
    assert common.ask("RCPT TO:<more@else.test>\r\n")[0].startswith("452 4.5.3")


def test_what_is_missing_is_added(client: Client) -> None:
    """RFC 6409 §8: Date, Message-ID, and From."""
    assert client.send(b"Subject: bare\r\n\r\nHello\r\n").startswith("250 ")
    outgoing = client.outgoing()[0]
    entry = client.queued()[0]
    domain = client.user.address.partition("@")[2]
    assert f"Message-ID: <{entry.id}@{domain}>\r\n".encode() in outgoing
    assert re.search(rb"\r\nDate: \w\w\w, \d\d \w\w\w 20\d\d \d\d:\d\d:\d\d \+0000\r\n", outgoing)
    assert f"\r\nFrom: {client.user.address}\r\n".encode() in outgoing
    assert entry.header_message_id == f"<{entry.id}@{domain}>"


def test_a_body_without_a_header(client: Client) -> None:
    assert client.send(b"Hello without a header\r\n").startswith("250 ")
    assert client.outgoing()[0].endswith(b"\r\n\r\nHello without a header\r\n")


def test_the_same_message_again_is_the_same(client: Client) -> None:
    """Promise P17: a client that missed the reply tries again; what differs in anything is another message."""
    first = client.send(message(client))
    assert client.send(message(client)) == first
    assert len(client.queued()) == 1
    assert client.sent() == [message(client)]
    client.send(message(client), "other@else.test")
    client.send(message(client, 2))
    assert len(client.queued()) == 3
    bare = b"Subject: bare\r\n\r\nHello\r\n"
    assert client.send(bare) != client.send(bare)


def test_null_reverse_path_is_for_notifications(client: Client) -> None:
    """RFC 8098 §2.1: a disposition notification has one."""
    assert client.send(message(client), sender="").startswith("250 ")
    assert client.queued()[0].reverse_path == ""


def test_addresses_beyond_ascii(services: MailServices, connect: Callable[..., Client]) -> None:
    """SMTPUTF8 (RFC 6531 §3.5)."""
    user = make_user(services)
    domain = user.address.partition("@")[2]
    services.addresses.create(OPERATOR, user.user_id, f"jörg@{domain}")
    client = connect(user).sign_in()
    client.say(f"MAIL FROM:<jörg@{domain}>\r\n", "553 5.6.7 Addresses beyond ASCII need SMTPUTF8")
    raw = f"From: Jörg <jörg@{domain}>\r\nSubject: é\r\n\r\nx\r\n".encode()
    assert client.send(raw, "δ@else.test", sender=f"jörg@{domain}", parameters=" SMTPUTF8").startswith("250 ")
    assert client.queued()[0].is_utf8
    assert b"with UTF8ESMTPSA id" in client.outgoing()[0]


def test_rset_and_a_greeting_drop_the_transaction(client: Client) -> None:
    for reset in ("RSET", "EHLO again.test", "HELO again.test"):
        client.ask(f"MAIL FROM:<{client.user.address}>\r\nRCPT TO:<bob@else.test>\r\n")
        client.ask(f"{reset}\r\n")
        client.say("DATA\r\n", "503 5.5.1 Not now")


def test_second_sign_in_and_sign_in_within_a_transaction(client: Client, connect: Callable[..., Client]) -> None:
    client.say(f"AUTH PLAIN {plain(client.user)}\r\n", "503 5.5.1 Signed in already")
    fresh = connect()
    fresh.unread.clear()
    fresh.say(f"AUTH PLAIN {plain(fresh.user)}\r\n", "503 5.5.1 Introduce yourself first")


def test_app_passwords_by_their_scope(services: MailServices, connect: Callable[..., Client]) -> None:
    client = connect()
    client.ask("EHLO client.test\r\n")
    for scope, reply in ((Scope.IMAP, "535 5.7.8 ..."), (Scope.SMTP, "235 2.7.0 Signed in")):
        secret: Secret = services.app_passwords.create(OPERATOR, client.user.user_id, "x", frozenset({scope}))[1]
        client.say(f"AUTH PLAIN {plain(client.user, secret.reveal_text())}\r\n", reply)
