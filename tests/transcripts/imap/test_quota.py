"""GETQUOTA, GETQUOTAROOT, SETQUOTA and STATUS DELETED-STORAGE (RFC 9208)."""

from __future__ import annotations

import pytest

from mailcore.model.flags import FlagSet
from mailcore.services.mailboxes.messages import NewMessage
from tests.builders import OPERATOR
from tests.transcripts.imap.dialogue import Imap


@pytest.fixture
def limited(imap: Imap) -> Imap:
    """A user of 512 KiB."""
    imap.services.users.set_quota(OPERATOR, imap.user.user_id, 512 * 1024)
    imap.services.placement.forget(imap.user.user_id)
    return imap


def test_use_and_limit(limited: Imap) -> None:
    """RFC 9208 §4.2.1, §4.2.2: units of 1024 bytes, what is begun counts."""
    limited.append(b"A: b\r\n\r\n" + b"x" * 10_000)
    limited.sign_in()
    limited.transcript("""
        C: G0001 GETQUOTA ""
        S: * QUOTA "" (STORAGE 10 512)
        S: G0001 OK GETQUOTA completed
        C: G0002 GETQUOTAROOT INBOX
        S: * QUOTAROOT INBOX ""
        S: * QUOTA "" (STORAGE 10 512)
        S: G0002 OK GETQUOTAROOT completed
        C: G0003 GETQUOTA other
        S: G0003 NO [NONEXISTENT] No such thing
        C: G0004 GETQUOTAROOT Nowhere
        S: G0004 NO [NONEXISTENT] No such mailbox
        """)


def test_use_follows_what_happens(limited: Imap) -> None:
    client = limited.sign_in(select="INBOX")
    raw = b"A: b\r\n\r\n" + b"x" * 20_000
    client.ask(b"a APPEND INBOX (\\Deleted) {%d+}\r\n%b\r\n" % (len(raw), raw))
    assert b"(STORAGE 20 512)" in client.run('GETQUOTA ""')
    client.run("EXPUNGE")
    assert b"(STORAGE 0 512)" in client.run('GETQUOTA ""')


def test_without_limit_there_is_no_root(imap: Imap) -> None:
    imap.sign_in()
    imap.transcript("""
        C: a GETQUOTAROOT INBOX
        S: * QUOTAROOT INBOX
        S: a OK GETQUOTAROOT completed
        C: b GETQUOTA ""
        S: b NO [NONEXISTENT] No such thing
        """)


def test_clients_set_no_quota(limited: Imap) -> None:
    """RFC 9208 §4.1.3: not announced as QUOTASET."""
    client = limited.sign_in()
    assert client.ask(b'a SETQUOTA "" (STORAGE 1024)\r\n').startswith(b"a NO [NOPERM] ")
    assert client.ask(b'b SETQUOTA "" (STORAGE 1 MESSAGE 2)\r\n').startswith(b"b NO [NOPERM] ")
    assert client.ask(b'c SETQUOTA "" (STORAGE)\r\n').startswith(b"c BAD ")
    assert client.ask(b'd SETQUOTA "" STORAGE 1\r\n').startswith(b"d BAD ")
    capabilities = client.run("CAPABILITY")
    assert b" QUOTA " in capabilities
    assert b" QUOTA=RES-STORAGE " in capabilities
    assert b"QUOTASET" not in capabilities
    assert b"RES-MESSAGE" not in capabilities


def test_what_an_expunge_would_free(imap: Imap) -> None:
    """RFC 9208 §4.1.4."""
    imap.append(NewMessage(b"x" * 1000, FlagSet(8)), NewMessage(b"x" * 2000, FlagSet(8)), NewMessage(b"x" * 4000))
    imap.sign_in()
    imap.transcript("""
        C: S0003 STATUS INBOX (MESSAGES DELETED-STORAGE)
        S: * STATUS INBOX (MESSAGES 3 DELETED-STORAGE 3000)
        S: S0003 OK STATUS completed
        C: a LIST "" "INBOX" RETURN (STATUS (DELETED-STORAGE))
        S: * LIST (\\HasNoChildren) "/" INBOX
        S: * STATUS INBOX (DELETED-STORAGE 3000)
        S: a OK LIST completed
        """)


def test_over_quota_has_its_code(limited: Imap) -> None:
    """RFC 9208 §4.3.1: APPEND, COPY and MOVE into a mailbox that is full."""
    limited.append(b"A: b\r\n\r\n" + b"x" * 300_000)
    client = limited.sign_in(select="INBOX")
    raw = b"x" * 300_000
    assert client.ask(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(raw), raw)).startswith(b"a NO [OVERQUOTA] ")
    assert client.ask(b"b COPY 1 Trash\r\n").startswith(b"b NO [OVERQUOTA] ")
    assert b"c OK" in client.ask(b"c MOVE 1 Trash\r\n")
