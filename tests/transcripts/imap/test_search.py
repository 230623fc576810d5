"""SEARCH: every key of RFC 3501 §6.4.4 against messages that tell them apart."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailcore.model import flags
from mailcore.model.flags import FlagSet
from mailcore.model.retention import RetentionRule
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.services.search.text_blocks import range_key
from mailcore.store.mailbox.blocks import BlockKind
from mailcore.store.mailbox.packed import unseal
from tests.builders import OPERATOR
from tests.transcripts.imap.dialogue import Imap

_1994 = 760060800  # 1-Feb-1994 00:00 UTC


def _messages() -> list[NewMessage]:
    return [
        NewMessage(
            b"From: Smith <smith@example.com>\r\nTo: a@example.com\r\nSubject: Weekly report\r\n"
            b"Date: Tue, 1 Feb 1994 23:30:00 -0800\r\nX-Spam: yes please\r\n\r\nThe quick brown fox\r\n",
            FlagSet(flags.SEEN | flags.ANSWERED, ("$Work",)),
            _1994 - 1,
        ),
        NewMessage(
            "From: =?utf-8?q?J=C3=BCrgen?= <j@example.com>\r\nCc: c@example.org\r\n"
            "Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n"
            "Date: Wed, 2 Feb 1994 00:30:00 +0900\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
            "Straße und ﬁnden\r\n".encode(),
            FlagSet(flags.FLAGGED | flags.DELETED),
            _1994,
        ),
        NewMessage(
            b"From: x@example.com\r\nBcc: hidden@example.net\r\nSubject: html\r\n"
            b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            b"PHA+VGhlIDxiPnF1PC9iPmljayBjYXQ8L3A+PHN0eWxlPnNlY3JldHt9PC9zdHlsZT4=\r\n",
            FlagSet(flags.DRAFT),
            _1994 + 86400,
        ),
        NewMessage(
            b"From: y@example.com\r\n\r\n" + b"long line of filling\r\n" * 5000 + b"needle at the end\r\n",
            FlagSet(),
            _1994 + 90000,
        ),
    ]


SEARCHES = [
    ("ALL", [1, 2, 3, 4]),
    ("1:2", [1, 2]),
    ("3:*", [3, 4]),
    ("9", []),
    ("NOT 1", [2, 3, 4]),
    ("UID 2,4", [2, 4]),
    ("UID 4:9", [4]),
    ("ANSWERED", [1]),
    ("UNANSWERED", [2, 3, 4]),
    ("DELETED", [2]),
    ("UNDELETED", [1, 3, 4]),
    ("DRAFT", [3]),
    ("UNDRAFT", [1, 2, 4]),
    ("FLAGGED", [2]),
    ("UNFLAGGED", [1, 3, 4]),
    ("SEEN", [1]),
    ("UNSEEN", [2, 3, 4]),
    ("RECENT", []),
    ("NEW", []),
    ("OLD", [1, 2, 3, 4]),
    ("KEYWORD $wORK", [1]),
    ("UNKEYWORD $Work", [2, 3, 4]),
    ("KEYWORD never", []),
    ("BEFORE 1-Feb-1994", [1]),
    ("ON 1-Feb-1994", [2]),
    ("SINCE 2-Feb-1994", [3, 4]),
    # the day as the Date field writes it: 2-Feb 07:30 UTC is 1-Feb there, 1-Feb 15:30 UTC is 2-Feb there
    ("SENTON 1-Feb-1994", [1]),
    ("SENTON 2-Feb-1994", [2]),
    ("SENTBEFORE 2-Feb-1994", [1]),
    ("SENTSINCE 2-Feb-1994", [2]),
    ("SENTSINCE 1-Jan-1990", [1, 2]),
    ("LARGER 1000", [4]),
    ("SMALLER 1000", [1, 2, 3]),
    ("FROM smith", [1]),
    ("FROM SMITH@EXAMPLE", [1]),
    ("FROM j\u00fcrgen", [2]),
    ("FROM nobody", []),
    ("TO a@example", [1]),
    ("TO smith", []),
    ("CC c@", [2]),
    ("BCC hidden", [3]),
    ("SUBJECT REPORT", [1]),
    ("SUBJECT gr\u00fcsse", [2]),
    ("SUBJECT Smith", []),
    ('HEADER X-Spam ""', [1]),
    ("HEADER x-spam please", [1]),
    ("HEADER Subject html", [3]),
    ('HEADER Bcc ""', [3]),
    ("BODY quick", [1, 3]),
    ("BODY Smith", []),
    ("BODY strasse", [2]),
    ("BODY finden", [2]),
    ("BODY secret", []),
    ("TEXT smith", [1]),
    ("TEXT quick", [1, 3]),
    ("TEXT STRASSE", [2]),
    ("TEXT needle", [4]),
    ("BODY needle", [4]),
    ("TEXT nowhere", []),
    ('TEXT ""', [1, 2, 3, 4]),
    ("NOT TEXT quick", [2, 4]),
    ("OR TEXT needle SUBJECT report", [1, 4]),
    ("OR SEEN (DELETED FLAGGED)", [1, 2]),
    ("TEXT quick UNSEEN", [3]),
    ("UNSEEN NOT (TEXT quick)", [2, 4]),
    ("CHARSET us-ascii BODY quick", [1, 3]),
]


@pytest.fixture
def four(imap: Imap) -> Imap:
    imap.append(*_messages())
    imap.sign_in(select="INBOX")
    return imap


def _ask(imap: Imap, search: str) -> list[int]:
    client = imap.clients[""]
    encoded = search.encode()
    if not search.isascii():
        word = search.split(" ", 1)[1].encode()
        encoded = b"CHARSET UTF-8 " + search.split(" ", 1)[0].encode() + b" {%d+}\r\n%b" % (len(word), word)
    answer = client.ask(b"a SEARCH " + encoded + b"\r\n")
    assert b"a OK SEARCH completed" in answer, answer
    return [int(number) for number in answer.split(b"\r\n")[0].split()[2:]]


def test_every_key(four: Imap) -> None:
    found = {search: _ask(four, search) for search, _ in SEARCHES}
    assert found == dict(SEARCHES)


def test_answers_do_not_depend_on_blocks(imap: Imap) -> None:
    """Over 64 messages of a range are packed into a block at the first search; later ones read that."""
    imap.fill(100)
    imap.append(*_messages())
    imap.fill(30)
    imap.sign_in(select="INBOX")
    for _ in range(2):
        assert _ask(imap, "BODY quick") == [101, 103]
        assert _ask(imap, "SUBJECT report") == [101]
        assert _ask(imap, "SENTON 1-Feb-1994") == [101]
        assert _ask(imap, "TEXT needle") == [104]
        assert _ask(imap, 'TEXT "Text 30"') == [30, 134]
        assert _ask(imap, 'SUBJECT "number 7"') == [7, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 111]
    client = imap.clients[""]
    client.run(r"STORE 103 +FLAGS (\Deleted)")
    client.run("UID EXPUNGE 103")
    assert _ask(imap, "BODY quick") == [101]


def test_what_is_destroyed_leaves_no_text_behind(imap: Imap) -> None:
    """P15: blocks are a cache, but of mail."""
    imap.services.retention.set_tenant_rule(OPERATOR, imap.user.tenant_id, RetentionRule(purge_after=timedelta()))
    imap.fill(99)
    imap.append(b"Subject: x\r\n\r\nsecret of state\r\n")
    client = imap.sign_in(select="INBOX")
    assert _ask(imap, "TEXT state") == [100]
    shard = imap.services.placement.home(imap.user.user_id).shard
    where = (imap.user.user_id, client.connection.session.mailbox.mailbox_id, range_key(0), BlockKind.TEXT)
    stored = shard.blocks.get(*where)
    assert stored is not None
    assert b"secret" in unseal(stored)
    client.run(r"STORE 100 +FLAGS.SILENT (\Deleted)")
    client.run("EXPUNGE")
    assert imap.services.retention.collect(imap.user.user_id).messages == 1
    assert shard.blocks.get(*where) is None


def test_by_uid(imap: Imap) -> None:
    imap.fill(4, deleted={1, 2})
    client = imap.sign_in(select="INBOX")
    client.run("EXPUNGE")
    imap.transcript("""
        C: a UID SEARCH ALL
        S: * SEARCH 3 4
        S: a OK SEARCH completed
        C: b SEARCH UID 3:4
        S: * SEARCH 1 2
        S: b OK SEARCH completed
        C: c UID SEARCH 1
        S: * SEARCH 3
        S: c OK SEARCH completed
        """)


def test_charset(imap: Imap) -> None:
    imap.sign_in(select="INBOX")
    imap.transcript("""
        C: a SEARCH CHARSET KOI8-R TEXT x
        S: a NO [BADCHARSET (UTF-8 US-ASCII)] This charset is not supported
        C: b SEARCH CHARSET utf-8 TEXT x
        S: * SEARCH
        S: b OK SEARCH completed
        """)
    answer = imap.clients[""].ask(b"c SEARCH CHARSET US-ASCII TEXT {2+}\r\n\xc3\xbc\r\n")
    assert answer == b"c BAD string is not in the charset\r\n"


def test_quoted_utf8(imap: Imap) -> None:
    """UTF-8 may be quoted in a search before it is enabled (RFC 9051 §9): imaplib and others send it so."""
    imap.append("Subject: Grüße\r\nMessage-ID: <a@x>\r\n\r\n".encode())
    imap.sign_in(select="INBOX")
    imap.transcript("""
        C: a SEARCH CHARSET UTF-8 SUBJECT "grüße"
        S: * SEARCH 1
        S: a OK SEARCH completed
        C: b SEARCH SUBJECT "GRÜSSE"
        S: * SEARCH 1
        S: b OK SEARCH completed
        C: c SORT (DATE) UTF-8 TEXT "rüß"
        S: * SORT 1
        S: c OK SORT completed
        C: d THREAD REFERENCES UTF-8 SUBJECT "ü"
        S: * THREAD (1)
        S: d OK THREAD completed
        C: e SEARCH CHARSET US-ASCII SUBJECT "ü"
        S: e BAD string is not in the charset
        """)
    assert imap.clients[""].ask(b'f SEARCH SUBJECT "\xff"\r\n').startswith(b"f BAD ")


def test_charset_is_bad_once_utf8_is_enabled(imap: Imap) -> None:
    """RFC 6855 §3."""
    client = imap.sign_in()
    client.run("ENABLE UTF8=ACCEPT")
    client.run("SELECT INBOX")
    assert client.ask(b"a SEARCH CHARSET UTF-8 ALL\r\n").startswith(b"a BAD ")
    assert client.ask('b SEARCH SUBJECT "ü"\r\n'.encode()) == b"* SEARCH\r\nb OK SEARCH completed\r\n"
