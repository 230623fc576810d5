"""LMTP against real storage: RFC 2033's own example, replies per recipient, what is stored."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from mailcore.model.tenant import State
from mailcore.store.directory import Directory
from tests.builders import OPERATOR, make_tenant, make_user
from tests.transcripts.lmtp.conftest import Lmtp

HELLO = """
    S: 220 foo.test LMTP Eider ready
    C: LHLO foo.edu
    S: 250-foo.test
    S: 250-PIPELINING
    S: 250-8BITMIME
    S: 250-SMTPUTF8
    S: 250-SIZE 67108864
    S: 250-ENHANCEDSTATUSCODES
    S: 250-CHUNKING
    S: 250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE
"""


def test_example_of_the_rfc(lmtp: Lmtp) -> None:
    """RFC 2033 §5."""
    tenant = make_tenant(lmtp.services)
    pat = make_user(lmtp.services, tenant=tenant)
    green = make_user(lmtp.services, tenant=tenant)
    lmtp.transcript(
        HELLO
        + """
        C: MAIL FROM:<chris@bar.com>
        S: 250 2.1.0 ...
        C: RCPT TO:<{pat}>
        S: 250 2.1.5 ...
        C: RCPT TO:<jones@{domain}>
        S: 550 5.1.1 ...
        C: RCPT TO:<{green}>
        S: 250 2.1.5 ...
        C: DATA
        S: 354 ...
        C: Blah blah blah...
        C: ...etc. etc. etc.
        C: .
        S: 250 2.0.0 OK
        S: 250 2.0.0 OK
        C: QUIT
        S: 221 2.0.0 ...
        """,
        pat=pat.address,
        green=green.address,
        domain=pat.address.partition("@")[2],
    )
    for user in (pat, green):
        (message,) = lmtp.inbox(user)
        trace, _, content = message.partition(b"Blah")
        assert content == b" blah blah...\r\n..etc. etc. etc.\r\n"
        assert re.fullmatch(
            rb"Return-Path: <chris@bar\.com>\r\n"
            rb"Delivered-To: %s\r\n"
            rb"Received: from foo\.edu \(\[127\.0\.0\.1\]\)\r\n"
            rb"\tby foo\.test with LMTP id [0-9a-f]{16};\r\n"
            rb"\t\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d \+0000\r\n" % re.escape(user.address.encode()),
            trace,
        )


def test_sole_recipient_is_named_and_chunks_keep_their_octets(lmtp: Lmtp) -> None:
    """RFC 5321 §4.4, RFC 6531 §4.3, RFC 3030."""
    user = make_user(lmtp.services)
    content = "Subject: Grüße\n\n.\n.\r\n\0".encode()
    lmtp.transcript(
        HELLO
        + """
        C: MAIL FROM:<> BODY=8BITMIME SMTPUTF8
        S: 250 2.1.0 ...
        C: RCPT TO:<{user}>
        S: 250 2.1.5 ...
        """,
        user=user.address,
    )
    lmtp.say(b"BDAT 5\r\n" + content[:5], "250 2.0.0 ...")
    lmtp.say(b"BDAT %d LAST\r\n%s" % (len(content) - 5, content[5:]), "250 2.0.0 OK")
    (message,) = lmtp.inbox(user)
    assert message.endswith(b"+0000\r\n" + content)
    assert message.startswith(b"Return-Path: <>\r\n")
    assert b"with UTF8LMTP id " in message
    assert f"\r\n\tfor <{user.address}>;\r\n".encode() in message


def test_bare_line_ends_are_stored_as_crlf(lmtp: Lmtp) -> None:
    user = make_user(lmtp.services)
    lmtp.greet()
    lmtp.say(f"MAIL FROM:<>\r\nRCPT TO:<{user.address}>\r\nDATA\r\n".encode(), "250 ...", "250 ...", "354 ...")
    lmtp.say(b"Subject: x\n\nbody\n.\nmore\rend\r\n.\r\n", "250 2.0.0 OK")
    (message,) = lmtp.inbox(user)
    assert message.endswith(b"\r\nSubject: x\r\n\r\nbody\r\n.\r\nmore\r\nend\r\n")


def test_full_mailbox_is_452_for_a_day_and_552_from_then_on(lmtp: Lmtp, directory: Directory) -> None:
    user = make_user(lmtp.services, quota_bytes=300)
    lmtp.greet()
    deliver = f"MAIL FROM:<>\r\nRCPT TO:<{user.address}>\r\nDATA\r\n".encode()
    lmtp.say(deliver, "250 ...", "250 ...", "354 ...")
    lmtp.say(b"x" * 400 + b"\r\n.\r\n", "452 4.2.2 ...")
    assert lmtp.inbox(user) == []
    directory.user_changes.clear_over_quota(user.user_id)
    directory.user_changes.mark_over_quota(user.user_id, datetime.now(UTC) - timedelta(hours=25))
    lmtp.services.placement.forget(user.user_id)
    lmtp.say(deliver, "250 ...", "250 ...", "354 ...")
    lmtp.say(b"x" * 400 + b"\r\n.\r\n", "552 5.2.2 ...")
    lmtp.say(deliver, "250 ...", "250 ...", "354 ...")
    lmtp.say(b"small\r\n.\r\n", "250 2.0.0 ...")
    assert len(lmtp.inbox(user)) == 1


def test_disabled_user_is_550_5_2_1(lmtp: Lmtp) -> None:
    user = make_user(lmtp.services)
    lmtp.services.users.set_state(OPERATOR, user.user_id, State.DISABLED)
    lmtp.greet()
    lmtp.say(f"MAIL FROM:<>\r\nRCPT TO:<{user.address}>\r\n".encode(), "250 ...", "550 5.2.1 ...")


def test_retry_with_the_same_queue_id_is_one_copy(lmtp: Lmtp) -> None:
    """Promise P3: the reply was lost, the agent sends again; equal bytes under another id stay two."""
    user = make_user(lmtp.services)
    lmtp.greet()
    for ident in ("4QX1", "4QX1", "4QX2", None, None):
        if ident:
            lmtp.say(f"XFORWARD IDENT={ident}\r\n".encode(), "250 ...")
        lmtp.say(f"MAIL FROM:<>\r\nRCPT TO:<{user.address}>\r\nDATA\r\n".encode(), "250 ...", "250 ...", "354 ...")
        lmtp.say(b"Subject: once\r\n\r\n.\r\n", "250 2.0.0 ...")
    assert len(lmtp.inbox(user)) == 4


def test_one_recipient_too_many_is_452_and_the_others_stand(lmtp: Lmtp) -> None:
    user = make_user(lmtp.services)
    lmtp.greet()
    lmtp.say(b"MAIL FROM:<>\r\n", "250 ...")
    one = f"RCPT TO:<{user.address}>\r\n".encode()
    lmtp.say(one * 1000, *["250 2.1.5 ..."] * 1000)
    lmtp.say(one, "452 4.5.3 ...")
    lmtp.say(b"RSET\r\n", "250 ...")
    assert lmtp.inbox(user) == []


def test_arrival_is_in_the_trace_of_the_tenant(lmtp: Lmtp) -> None:
    """One row for all that were answered alike, found by sender, each recipient, Message-ID and queue id."""
    one = make_user(lmtp.services)
    two = make_user(lmtp.services, tenant=(one.tenant_id, one.address.partition("@")[2]))
    lmtp.greet()
    lmtp.say(b"XFORWARD IDENT=q77\r\nMAIL FROM:<trace@a.test>\r\n", "250 ...", "250 ...")
    lmtp.say(f"RCPT TO:<{one.address}>\r\nRCPT TO:<{two.address}>\r\n".encode(), "250 ...", "250 ...")
    lmtp.say(b"DATA\r\nMessage-ID: <traced@a.test>\r\n\r\nx\r\n.\r\n", "354 ...", "250 ...", "250 ...")
    lmtp.services.trace.flush()
    for found_by in ({"sender": "trace@a.test"}, {"recipient": two.address}, {"message_id": "<traced@a.test>"}):
        (row,) = lmtp.services.trace.search(one.tenant_id, **found_by)
        assert (row.step.value, row.queue_id, row.recipient) == ("delivered", "q77", one.address)
        assert row.others == (two.address,)
