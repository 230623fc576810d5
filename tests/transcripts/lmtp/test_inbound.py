"""What recipients want done, as the agent before us hears of it: one reply for each RCPT (RFC 2033 §4.2)."""

from __future__ import annotations

import pytest

from mailcore.lmtp import policy
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.transcripts.lmtp.conftest import Lmtp

MESSAGE = "From: bob@outside.test\r\nTo: you@here.test\r\nSubject: hello\r\n"


def script(lmtp: Lmtp, user: MadeUser, text: str) -> None:
    lmtp.services.scripts.put(OPERATOR, user.user_id, "main", text)
    lmtp.services.scripts.activate(OPERATOR, user.user_id, "main")
    lmtp.services.placement.forget(user.user_id)


def test_a_recipient_who_refuses_changes_nothing_for_the_others(lmtp: Lmtp) -> None:
    """RFC 5429 §2.1: refused within the protocol, in the recipient's words; nothing is sent to anybody."""
    refusing, fine = make_user(lmtp.services), make_user(lmtp.services)
    script(lmtp, refusing, 'require "ereject"; ereject "I do not take this.\r\nWrite to Bob.";')
    lmtp.greet()
    lmtp.transcript(
        """
        C: MAIL FROM:<bob@outside.test>
        S: 250 2.1.0 Sender accepted
        C: RCPT TO:<{refusing}>
        S: 250 2.1.5 Recipient accepted
        C: RCPT TO:<{fine}>
        S: 250 2.1.5 Recipient accepted
        C: DATA
        S: 354 End with CRLF.CRLF
        """,
        refusing=refusing.address,
        fine=fine.address,
    )
    lmtp.say(
        f"{MESSAGE}\r\nhello\r\n.\r\n".encode(),
        "550-5.7.1 I do not take this.",
        "550 5.7.1 Write to Bob.",
        "250 2.0.0 OK",
    )
    assert (len(lmtp.inbox(refusing)), len(lmtp.inbox(fine))) == (0, 1)
    assert lmtp.services.outbound.list_of_user(refusing.user_id) == []


def test_a_group_is_one_reply(lmtp: Lmtp) -> None:
    tenant = make_tenant(lmtp.services)
    members = [make_user(lmtp.services, tenant=tenant) for _ in range(3)]
    group = lmtp.services.groups.create(
        OPERATOR, tenant[0], f"all@{tenant[1]}", [*(each.address for each in members), "x@elsewhere.test"]
    )
    lmtp.greet()
    lmtp.say(b"MAIL FROM:<bob@outside.test>\r\n", "250 2.1.0 ...")
    lmtp.say(f"RCPT TO:<{group.display}>\r\n".encode(), "250 2.1.5 ...")
    lmtp.say(b"DATA\r\n", "354 ...")
    lmtp.say(f"{MESSAGE}\r\nhello\r\n.\r\n".encode(), "250 2.0.0 OK")
    assert [len(lmtp.inbox(each)) for each in members] == [1, 1, 1]
    [entry] = lmtp.services.outbound.list_of_user(members[0].user_id)
    assert [each.address for each in entry.recipients] == ["x@elsewhere.test"]


def test_a_rewritten_path_takes_bounces_and_nothing_else(lmtp: Lmtp) -> None:
    """M10: RCPT to an address that we made up for a reverse-path."""
    user = make_user(lmtp.services)
    lmtp.services.users.set_settings(OPERATOR, user.user_id, {"targets": ("x@elsewhere.test",)})
    lmtp.greet()
    lmtp.say(b"MAIL FROM:<bob@outside.test>\r\n", "250 2.1.0 ...")
    lmtp.say(f"RCPT TO:<{user.address}>\r\n".encode(), "250 2.1.5 ...")
    lmtp.say(b"DATA\r\n", "354 ...")
    lmtp.say(f"{MESSAGE}\r\nhello\r\n.\r\n".encode(), "250 2.0.0 OK")
    [entry] = lmtp.services.outbound.list_of_user(user.user_id)
    assert entry.reverse_path.startswith("SRS0=")
    lmtp.say(b"MAIL FROM:<eve@outside.test>\r\n", "250 2.1.0 ...")
    lmtp.say(f"RCPT TO:<{entry.reverse_path}>\r\n".encode(), "550 5.1.1 ...")
    lmtp.say(b"RSET\r\n", "250 ...")
    lmtp.say(b"MAIL FROM:<>\r\n", "250 2.1.0 ...")
    lmtp.say(f"RCPT TO:<{entry.reverse_path}>\r\n".encode(), "250 2.1.5 ...")
    lmtp.say(b"DATA\r\n", "354 ...")
    lmtp.say(b"Subject: failed\r\n\r\nno\r\n.\r\n", "250 2.0.0 OK")
    assert {each.recipients[0].address for each in lmtp.services.outbound.list_of_user(user.user_id)} == {
        "x@elsewhere.test",
        "bob@outside.test",
    }


def check_forged(lmtp: Lmtp) -> None:
    user = make_user(lmtp.services)
    own = lmtp.services.settings.hostname
    lmtp.greet()
    lmtp.say(b"MAIL FROM:<bob@outside.test>\r\n", "250 2.1.0 ...")
    lmtp.say(f"RCPT TO:<{user.address}>\r\n".encode(), "250 2.1.5 ...")
    lmtp.say(b"DATA\r\n", "354 ...")
    forged = f"Authentication-Results: {own}; dmarc=pass\r\nX-Spam-Status: No, score=-9\r\n"
    lmtp.say(f"{forged}{MESSAGE}\r\nhello\r\n.\r\n".encode(), "250 2.0.0 OK")
    [stored] = lmtp.inbox(user)
    assert stored.endswith(f"{MESSAGE}\r\nhello\r\n".encode())
    assert b"dmarc=pass" not in stored
    assert b"X-Spam-Status" not in stored


def test_what_a_sender_writes_in_our_name_is_taken_out(lmtp: Lmtp) -> None:
    check_forged(lmtp)


def test_an_agent_that_screens_nothing_would_be_seen(lmtp: Lmtp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    from mailcore.services.inbound.spam import Screened

    monkeypatch.setattr(policy.Spam, "screen", lambda _self, raw, _envelope: Screened(raw))
    with pytest.raises(AssertionError):
        check_forged(lmtp)
