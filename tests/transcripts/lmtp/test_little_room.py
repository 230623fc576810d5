"""Fault F6: a disk with little room left takes no new mail, but lets room be made."""

from __future__ import annotations

import pytest

from mailcore.store import room
from tests.builders import make_user
from tests.transcripts.imap.dialogue import Imap
from tests.transcripts.lmtp.conftest import Lmtp


def test_mail_is_refused_for_now_and_deletions_are_not(lmtp: Lmtp, monkeypatch: pytest.MonkeyPatch) -> None:
    check_little_room(lmtp, monkeypatch)


def test_who_does_not_look_takes_mail_without_room(lmtp: Lmtp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(room.Room, "_look", lambda _: None)
    with pytest.raises(AssertionError, match=r"250 2\.0\.0"):
        check_little_room(lmtp, monkeypatch)


def check_little_room(lmtp: Lmtp, monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user(lmtp.services)
    imap = Imap(lmtp.services, user)
    imap.append(b"Subject: one\r\n\r\n")
    monkeypatch.setattr(room, "LOOK_S", 0.0)
    monkeypatch.setattr(room, "RESERVE_SHARE", 2.0)
    monkeypatch.setattr(room, "RESERVE_BYTES", 1 << 60)
    here = lmtp.services.placement.home(user.user_id).shard.room
    monkeypatch.setattr(here, "_look_at", 0.0)
    monkeypatch.setattr(here, "_is_short", False)
    lmtp.greet()
    lmtp.say(b"MAIL FROM:<a@b.example>\r\n", "250 2.1.0 ...")
    lmtp.say(b"RCPT TO:<%s>\r\n" % user.address.encode(), "250 2.1.5 ...")
    lmtp.say(b"DATA\r\n", "354 ...")
    lmtp.say(b"Subject: two\r\n\r\n.\r\n", "452 4.3.1 ...")
    session = imap.sign_in(select="INBOX")
    assert b"a NO [UNAVAILABLE]" in session.ask(b"a APPEND INBOX {2+}\r\nx\n\r\n")
    assert b" OK " in session.ask(b"a STORE 1 +FLAGS (\\Deleted)\r\n")
    assert b"a OK " in session.ask(b"a EXPUNGE\r\n")
