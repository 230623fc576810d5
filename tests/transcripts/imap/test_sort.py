"""SORT (RFC 5256 §3), SORT=DISPLAY (RFC 5957), and with RETURN (RFC 5267 §3)."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from mailcore.message.dates import header_date
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.services.search.text_blocks import range_key
from mailcore.store.mailbox.blocks import BlockKind
from tests.transcripts.imap.dialogue import Imap


def _message(subject: str, sender: str, date: str, arrived: int, filling: int = 0, to: str = "x@y") -> NewMessage:
    raw = f"Subject: {subject}\r\nFrom: {sender}\r\nTo: {to}\r\nDate: {date}\r\n\r\n" + "x" * filling
    return NewMessage(raw.encode(), internal_date=arrived)


def _five(imap: Imap) -> None:
    imap.append(
        _message("Re: banana", "Zoe <alice@x.org>", "Tue, 2 Jan 2024 10:00:00 +0000", 500, 10),
        _message("apple", "bob@x.org", "Tue, 2 Jan 2024 10:30:00 +0200", 400, 30),
        _message("Banana (fwd)", "=?utf-8?q?=C3=84nne?= <carol@x.org>", "nonsense", 1_704_189_600, 20, "b@y"),
        _message("[list] cherry", "alice@other.org", "Wed, 3 Jan 2024 10:00:00 +0000", 200, 40, '"A" <z@y>'),
        NewMessage(b"X: no headers\r\n\r\n", internal_date=100),
    )
    imap.sign_in(select="INBOX")


def test_keys(imap: Imap) -> None:
    """§2.2, §3: each key, ties in the order of the mailbox, whatever is reversed."""
    _five(imap)
    imap.transcript("""
        C: A282 SORT (SUBJECT) UTF-8 ALL
        S: * SORT 5 2 1 3 4
        S: A282 OK SORT completed
        C: A283 SORT (REVERSE SUBJECT) US-ASCII ALL
        S: * SORT 4 1 3 2 5
        S: A283 OK SORT completed
        C: A284 SORT (FROM) UTF-8 ALL
        S: * SORT 5 1 4 2 3
        S: A284 OK SORT completed
        C: A285 SORT (DISPLAYFROM) UTF-8 ALL
        S: * SORT 5 4 3 2 1
        S: A285 OK SORT completed
        C: A286 SORT (DATE) UTF-8 1:4
        S: * SORT 2 1 3 4
        S: A286 OK SORT completed
        C: A287 SORT (ARRIVAL) UTF-8 ALL
        S: * SORT 5 4 2 1 3
        S: A287 OK SORT completed
        C: A288 SORT (REVERSE SIZE) UTF-8 ALL
        S: * SORT 4 3 2 1 5
        S: A288 OK SORT completed
        C: A289 SORT (SUBJECT REVERSE DATE) UTF-8 ALL
        S: * SORT 5 2 1 3 4
        S: A289 OK SORT completed
        C: A290 SORT (SUBJECT REVERSE ARRIVAL) UTF-8 ALL
        S: * SORT 5 2 3 1 4
        S: A290 OK SORT completed
        C: A291 SORT (TO) UTF-8 ALL
        S: * SORT 5 3 1 2 4
        S: A291 OK SORT completed
        C: A292 SORT (DISPLAYTO CC) UTF-8 ALL
        S: * SORT 5 4 3 1 2
        S: A292 OK SORT completed
        C: A293 UID SORT (SUBJECT) UTF-8 TEXT alice
        S: * SORT 1 4
        S: A293 OK SORT completed
        C: A294 SORT (SUBJECT) UTF-8 TEXT "not in mailbox"
        S: * SORT
        S: A294 OK SORT completed
        """)


def test_collation(imap: Imap) -> None:
    """RFC 5256 §2.2 asks for i;unicode-casemap (RFC 5051): capitals, decomposed, then byte for byte."""
    subjects = ("Émile", "fabel", "EMIR", "_x", "straße", "strasse", "ﬁle", "emile", "9", "東京", "Ωmega", "ωmega 2")
    imap.append(*(f"Subject: {subject}\r\n\r\n".encode() for subject in subjects))
    imap.sign_in(select="INBOX")
    imap.transcript("""
        C: a SORT (SUBJECT) UTF-8 ALL
        S: * SORT 9 8 3 1 2 7 5 6 4 11 12 10
        S: a OK SORT completed
        """)


def test_return_and_modseq(imap: Imap) -> None:
    _five(imap)
    imap.transcript("""
        C: a SORT RETURN (MIN MAX COUNT ALL) (SUBJECT) UTF-8 ALL
        S: * ESEARCH (TAG "a") MIN 5 MAX 4 ALL 5,2,1,3:4 COUNT 5
        S: a OK SORT completed
        C: b UID SORT RETURN (PARTIAL 2:3) (REVERSE SUBJECT) UTF-8 ALL
        S: * ESEARCH (TAG "b") UID PARTIAL (2:3 1,3)
        S: b OK SORT completed
        C: c SORT RETURN (SAVE) (SUBJECT) UTF-8 TEXT alice
        S: c OK SORT completed
        C: d SEARCH $
        S: * SEARCH 1 4
        S: d OK SEARCH completed
        C: e SORT (SUBJECT) UTF-8 MODSEQ 2
        S: * OK [HIGHESTMODSEQ 2] Highest
        S: * SORT 5 2 1 3 4 (MODSEQ 2)
        S: e OK SORT completed
        """)


def test_faults(imap: Imap) -> None:
    imap.sign_in(select="INBOX")
    imap.transcript("""
        C: a SORT () UTF-8 ALL
        S: a BAD atom expected
        C: b SORT (NONSENSE) UTF-8 ALL
        S: b BAD unknown sort key
        C: c SORT (REVERSE) UTF-8 ALL
        S: c BAD space expected
        C: d SORT SUBJECT UTF-8 ALL
        S: d BAD ( expected
        C: e SORT (SUBJECT) ALL
        S: e BAD space expected
        C: f SORT (SUBJECT) KOI8-R ALL
        S: f NO [BADCHARSET (UTF-8 US-ASCII)] This charset is not supported
        C: g SORT (SUBJECT SUBJECT REVERSE SUBJECT) UTF-8 ALL
        S: * SORT
        S: g OK SORT completed
        """)


def test_expunge_is_not_told_by_sort(imap: Imap) -> None:
    """RFC 5256 §3: SORT counts as SEARCH does, UID SORT may tell."""
    _five(imap)
    imap.clients["1"] = imap.clients[""]
    other = imap.sign_in("2", "INBOX")
    other.run(r"STORE 2 +FLAGS.SILENT (\Deleted)")
    other.run("EXPUNGE")
    imap.transcript("""
        C1: a SORT (SUBJECT) UTF-8 ALL
        S1: * SORT 5 2 1 3 4
        S1: a OK SORT completed
        C1: b SORT (SUBJECT) UTF-8 ALL
        S1: * SORT 5 1 3 4
        S1: b OK SORT completed
        C1: c UID SORT (SUBJECT) UTF-8 ALL
        S1: * SORT 5 1 3 4
        S1: * 2 EXPUNGE
        S1: c OK SORT completed
        """)


def test_order_agrees_with_a_simple_sort(imap: Imap) -> None:
    """However it comes about: from headers, from a stored block, from memory, and with messages added since."""
    rng = random.Random(4)
    messages = []
    for _ in range(300):
        instant = datetime.fromtimestamp(1_600_000_000 + rng.randrange(50) * 3600, UTC)
        messages.append(
            _message(
                f"topic {rng.randrange(20)}",
                f"user{rng.randrange(9)}@x.org",
                instant.strftime("%a, %d %b %Y %H:%M:%S +0000"),
                1_700_000_000 + rng.randrange(50),
                rng.randrange(40),
            )
        )
    imap.append(*messages[:200])
    client = imap.sign_in(select="INBOX")
    shard = imap.services.placement.home(imap.user.user_id).shard
    where = (imap.user.user_id, client.connection.session.mailbox.mailbox_id, range_key(0), BlockKind.LISTING)
    for count in (200, 200, 300):
        if count == 300:
            imap.append(*messages[200:])
            client.run("NOOP")
        shown = messages[:count]
        keys = [
            (m.raw.split(b"\r\n")[0], header_date(m.raw) or 0, -len(m.raw), -(m.internal_date or 0), number)
            for number, m in enumerate(shown, 1)
        ]
        expected = [key[-1] for key in sorted(keys)]
        answer = client.run("SORT (SUBJECT DATE REVERSE SIZE REVERSE ARRIVAL) UTF-8 ALL")
        assert [int(word) for word in answer.split(b"\r\n")[0].split()[2:]] == expected
        assert shard.blocks.get(*where) is not None
        if count == 200:
            imap.services.sorting._columns._kept.clear()
