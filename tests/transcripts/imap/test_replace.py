"""REPLACE and UID REPLACE (RFC 8508)."""

from __future__ import annotations

import pytest

from mailcore import fault
from tests.builders import OPERATOR
from tests.transcripts.imap.dialogue import Client, Imap

NEW = b"Subject: new\r\n\r\nBetter\r\n"


def replace(client: Client, command: str) -> bytes:
    """Carry out a REPLACE whose literal waits."""
    assert client.ask(b"a %b {%d}\r\n" % (command.encode(), len(NEW))) == b"+ OK\r\n"
    return client.ask(NEW + b"\r\n")


def test_a_draft_is_replaced(imap: Imap) -> None:
    """RFC 8508 §4.4's example: APPENDUID, EXISTS and EXPUNGE, then OK."""
    imap.fill(4, mailbox="Drafts")
    client = imap.sign_in(select="Drafts")
    answer = replace(client, r"REPLACE 4 Drafts (\Seen \Draft)")
    uid_line, rest = answer.split(b"\r\n", 1)
    assert uid_line.startswith(b"* OK [APPENDUID ")
    assert uid_line.endswith(b" 5] Replacement message ready")
    assert rest == b"* 4 EXPUNGE\r\n* 4 EXISTS\r\na OK REPLACE completed\r\n"
    imap.transcript(r"""
        C: b FETCH 4 (UID FLAGS)
        S: * 4 FETCH (UID 5 FLAGS (\Seen \Draft))
        S: b OK FETCH completed
        """)


def test_into_another_mailbox(imap: Imap) -> None:
    """RFC 8508 §3.2: a draft becomes a sent message."""
    imap.fill(2, mailbox="Drafts")
    client = imap.sign_in(select="Drafts")
    answer = replace(client, r'UID REPLACE 1 "Sent Mail"')
    assert b"* 1 EXPUNGE\r\n" in answer
    assert b"EXISTS" not in answer
    assert b"MESSAGES 1" in client.run('STATUS "Sent Mail" (MESSAGES)')
    assert b"MESSAGES 1" in client.run("STATUS Drafts (MESSAGES)")


def test_nothing_changes_when_it_cannot_be_done(imap: Imap) -> None:
    """RFC 8508 §3.3."""
    imap.fill(1, mailbox="Drafts")
    client = imap.sign_in(select="Drafts")
    assert replace(client, "UID REPLACE 7 Drafts").startswith(b"a NO [NONEXISTENT] ")
    assert replace(client, "REPLACE 1 Nowhere").startswith(b"a NO [TRYCREATE] ")
    assert replace(client, "REPLACE 2 Drafts").startswith(b"a BAD ")
    assert replace(client, "REPLACE 1:2 Drafts").startswith(b"a BAD ")
    assert client.ask(b"b REPLACE 1 Drafts {0}\r\n") == b"+ OK\r\n"
    assert client.ask(b"\r\n").startswith(b"b NO [CANNOT] ")
    client.run("EXAMINE Drafts")
    assert replace(client, "REPLACE 1 Drafts").startswith(b"a NO [NOPERM] ")
    client.run("UNSELECT")
    assert client.ask(b"c REPLACE 1 Drafts {10}\r\n").startswith(b"c BAD ")
    assert b"MESSAGES 1 UIDNEXT 2" in client.run("STATUS Drafts (MESSAGES UIDNEXT)")


def test_what_is_replaced_makes_room(imap: Imap) -> None:
    """RFC 8508 §5: a full quota does not keep a draft from being saved again."""
    imap.append(b"Subject: old\r\n\r\n" + b"x" * len(NEW), mailbox="Drafts")
    imap.services.users.set_quota(OPERATOR, imap.user.user_id, 41)
    imap.services.placement.forget(imap.user.user_id)
    client = imap.sign_in(select="Drafts")
    assert b"a OK REPLACE completed" in replace(client, "REPLACE 1 Drafts")
    assert replace(client, "REPLACE 1 Nowhere").startswith(b"a NO ")
    assert client.ask(b"b APPEND Drafts {%d+}\r\n%b\r\n" % (len(NEW), NEW)).startswith(b"b NO [OVERQUOTA]")


def test_a_crash_between_leaves_both(imap: Imap) -> None:
    """Promise P7: never neither; the new one is stored before the old one goes."""
    imap.fill(1, mailbox="Drafts")
    client = imap.sign_in(select="Drafts")

    def crash() -> None:
        raise KeyboardInterrupt

    fault.install({"replace.after_append": crash})
    try:
        with pytest.raises(KeyboardInterrupt):
            replace(client, "REPLACE 1 Drafts")
    finally:
        fault.install({})
    assert b"MESSAGES 2" in imap.sign_in("2").run("STATUS Drafts (MESSAGES)")


def test_what_was_replaced_is_answered_ok_though_its_mailbox_is_gone(imap: Imap) -> None:
    """Promise P7: whoever is told NO saves the draft again."""
    imap.fill(1, mailbox="Drafts")
    client = imap.sign_in()
    client.run("CREATE Notes")
    client.run("SELECT Drafts")
    client.run("COPY 1 Notes")
    client.run("SELECT Notes")
    fault.install(
        {"replace.after_append": lambda: imap.services.mailboxes.delete(imap.user.user_id, OPERATOR, "Notes")}
    )
    try:
        assert b"a OK REPLACE completed" in replace(client, "REPLACE 1 Drafts")
    finally:
        fault.install({})
    assert b"MESSAGES 2" in imap.sign_in("2").run("STATUS Drafts (MESSAGES)")
