"""ESEARCH (RFC 4731), SEARCHRES (RFC 5182), PARTIAL (RFC 9394): the RFCs' examples, with this mailbox's numbers."""

from __future__ import annotations

import pytest

from mailcore.errors import StoreUnavailable
from tests.transcripts.imap.dialogue import Imap


@pytest.fixture
def twelve(imap: Imap) -> Imap:
    """UIDs 3 to 14, numbers 1 to 12; deleted: numbers 2, 10, 11."""
    imap.fill(14, deleted={1, 2})
    client = imap.sign_in(select="INBOX")
    client.run("EXPUNGE")
    client.run(r"STORE 2,10:11 +FLAGS.SILENT (\Deleted)")
    return imap


def test_return(twelve: Imap) -> None:
    """RFC 4731 §3.1."""
    twelve.transcript(r"""
        C: A282 SEARCH RETURN (MIN COUNT) DELETED SINCE 1-Feb-1994
        S: * ESEARCH (TAG "A282") MIN 2 COUNT 3
        S: A282 OK SEARCH completed
        C: A283 SEARCH RETURN () DELETED SINCE 1-Feb-1994
        S: * ESEARCH (TAG "A283") ALL 2,10:11
        S: A283 OK SEARCH completed
        C: A284 SEARCH RETURN (MIN) FLAGGED
        S: * ESEARCH (TAG "A284")
        S: A284 OK SEARCH completed
        C: A285 UID SEARCH RETURN (MIN MAX) 1:5000
        S: * ESEARCH (TAG "A285") UID MIN 3 MAX 14
        S: A285 OK SEARCH completed
        C: A286 UID SEARCH RETURN (MAX COUNT ALL) DELETED
        S: * ESEARCH (TAG "A286") UID MAX 13 ALL 4,12:13 COUNT 3
        S: A286 OK SEARCH completed
        C: A287 SEARCH RETURN (COUNT) CHARSET UTF-8 FLAGGED
        S: * ESEARCH (TAG "A287") COUNT 0
        S: A287 OK SEARCH completed
        C: A288 SEARCH RETURN (ALL COUNT) NOT 1:12
        S: * ESEARCH (TAG "A288") COUNT 0
        S: A288 OK SEARCH completed
        C: e1 SEARCH RETURN (NONSENSE) ALL
        S: e1 BAD unknown RETURN option
        C: e2 SEARCH RETURN ALL
        S: e2 BAD ( expected
        """)


def test_return_with_modseq(twelve: Imap) -> None:
    """RFC 7162 §3.1.5, §3.1.6 and RFC 4731 §3.2: the highest MODSEQ of what is returned."""
    twelve.transcript(r"""
        C: a SEARCH MODSEQ 4
        S: * OK [HIGHESTMODSEQ 4] Highest
        S: * SEARCH 2 10 11 (MODSEQ 4)
        S: a OK SEARCH completed
        C: b SEARCH MODSEQ "/flags/\\draft" all 5
        S: * SEARCH
        S: b OK SEARCH completed
        C: c STORE 10 +FLAGS.SILENT (\Seen)
        S: * 10 FETCH (UID 12 MODSEQ (5))
        S: c OK STORE completed
        C: d SEARCH RETURN (ALL) OR UNDELETED MODSEQ 4
        S: * ESEARCH (TAG "d") ALL 1:12 MODSEQ 5
        S: d OK SEARCH completed
        C: e SEARCH RETURN (MIN) MODSEQ 4
        S: * ESEARCH (TAG "e") MIN 2 MODSEQ 4
        S: e OK SEARCH completed
        C: f SEARCH RETURN (MIN MAX) MODSEQ 4 SEEN
        S: * ESEARCH (TAG "f") MIN 10 MAX 10 MODSEQ 5
        S: f OK SEARCH completed
        C: g SEARCH MODSEQ 0 1
        S: * SEARCH 1 (MODSEQ 2)
        S: g OK SEARCH completed
        C: e1 SEARCH MODSEQ "/other" all 5
        S: e1 BAD unknown metadata entry
        C: e2 SEARCH MODSEQ "/flags/x" some 5
        S: e2 BAD all, priv or shared expected
        """)


def test_saved_result(twelve: Imap) -> None:
    """RFC 5182 §2.2, examples 1 to 4."""
    twelve.transcript(r"""
        C: A282 SEARCH RETURN (SAVE) DELETED
        S: A282 OK SEARCH completed
        C: A283 FETCH $ (UID)
        S: * 2 FETCH (UID 4)
        S: * 10 FETCH (UID 12)
        S: * 11 FETCH (UID 13)
        S: A283 OK FETCH completed
        C: B1 SEARCH RETURN (COUNT) $ SMALLER 4096
        S: * ESEARCH (TAG "B1") COUNT 3
        S: B1 OK SEARCH completed
        C: B2 UID SEARCH OR UID $ 1
        S: * SEARCH 3 4 12 13
        S: B2 OK SEARCH completed
        C: C1 SEARCH RETURN (SAVE MIN) $ LARGER 0
        S: * ESEARCH (TAG "C1") MIN 2
        S: C1 OK SEARCH completed
        C: C2 UID FETCH $ (UID)
        S: * 2 FETCH (UID 4)
        S: C2 OK FETCH completed
        C: D1 SEARCH RETURN (SAVE MIN MAX) DELETED
        S: * ESEARCH (TAG "D1") MIN 2 MAX 11
        S: D1 OK SEARCH completed
        C: D2 UID STORE $ +FLAGS.SILENT (\Seen)
        S: D2 OK STORE completed
        C: D3 SEARCH SEEN
        S: * SEARCH 2 11
        S: D3 OK SEARCH completed
        C: E1 SEARCH RETURN (SAVE MIN ALL) DELETED
        S: * ESEARCH (TAG "E1") MIN 2 ALL 2,10:11
        S: E1 OK SEARCH completed
        C: E2 COPY $ Trash
        S: E2 OK [COPYUID «v» 4,12:13 1:3] COPY completed
        C: E3 SEARCH RETURN (SAVE) FLAGGED
        S: E3 OK SEARCH completed
        C: E4 FETCH $ (UID)
        S: E4 OK FETCH completed
        C: E5 SEARCH $
        S: * SEARCH
        S: E5 OK SEARCH completed
        """)


def test_saved_result_follows_the_mailbox(twelve: Imap) -> None:
    """RFC 5182 §2.1: what is expunged leaves it, SELECT empties it, a failure empties it, a fault does not."""
    twelve.transcript(r"""
        C: a SEARCH RETURN (SAVE) DELETED
        S: a OK SEARCH completed
        C: b UID EXPUNGE 4
        S: * 2 EXPUNGE
        S: b OK EXPUNGE completed
        C: c SEARCH RETURN (ALL) $
        S: * ESEARCH (TAG "c") ALL 9:10
        S: c OK SEARCH completed
        C: d SEARCH RETURN (SAVE) NONSENSE
        S: d BAD unknown search key
        C: e FETCH $ (UID)
        S: * 9 FETCH (UID 12)
        S: * 10 FETCH (UID 13)
        S: e OK FETCH completed
        C: f SEARCH RETURN (SAVE) CHARSET KOI8-R TEXT x
        S: f NO [BADCHARSET (UTF-8 US-ASCII)] This charset is not supported
        C: g FETCH $ (UID)
        S: g OK FETCH completed
        C: h SEARCH RETURN (SAVE) ALL
        S: h OK SEARCH completed
        """)
    client = twelve.clients[""]
    client.run("SELECT INBOX")
    assert client.run("FETCH $ (UID)") == b"t OK FETCH completed\r\n"


def test_saved_result_of_a_search_that_failed(twelve: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    client = twelve.clients[""]
    client.run("SEARCH RETURN (SAVE) ALL")

    def unavailable(*_args: object) -> None:
        raise StoreUnavailable("test")

    with monkeypatch.context() as patch:
        patch.setattr(type(twelve.services.search), "steps", unavailable)
        assert b"a NO [UNAVAILABLE]" in client.ask(b"a SEARCH RETURN (SAVE) TEXT x\r\n")
    assert client.run("FETCH $ (UID)") == b"t OK FETCH completed\r\n"


def test_saved_result_with_pipelined_commands(twelve: Imap) -> None:
    """RFC 5182 §2.2, example 2: each command sees what the one before it saved."""
    answer = twelve.clients[""].ask(
        b"a SEARCH RETURN (SAVE) 1:2\r\nb SEARCH RETURN (SAVE) $ DELETED\r\nc UID SEARCH RETURN (ALL) $\r\n"
    )
    assert answer == (
        b'a OK SEARCH completed\r\nb OK SEARCH completed\r\n* ESEARCH (TAG "c") UID ALL 4\r\nc OK SEARCH completed\r\n'
    )


def test_partial(twelve: Imap) -> None:
    """RFC 9394 §3.1 and §3.3."""
    twelve.transcript(r"""
        C: A01 UID SEARCH RETURN (PARTIAL -1:-3) UNDELETED
        S: * ESEARCH (TAG "A01") UID PARTIAL (-1:-3 10:11,14)
        S: A01 OK SEARCH completed
        C: A02 UID SEARCH RETURN (PARTIAL 2:3 COUNT) UNDELETED
        S: * ESEARCH (TAG "A02") UID COUNT 9 PARTIAL (2:3 5:6)
        S: A02 OK SEARCH completed
        C: A03 SEARCH RETURN (PARTIAL 500:1) DELETED
        S: * ESEARCH (TAG "A03") PARTIAL (500:1 2,10:11)
        S: A03 OK SEARCH completed
        C: A04 SEARCH RETURN (PARTIAL 23500:24000) ALL
        S: * ESEARCH (TAG "A04") PARTIAL (23500:24000 NIL)
        S: A04 OK SEARCH completed
        C: A05 SEARCH RETURN (PARTIAL -13:-20) ALL
        S: * ESEARCH (TAG "A05") PARTIAL (-13:-20 NIL)
        S: A05 OK SEARCH completed
        C: A06 SEARCH RETURN (SAVE PARTIAL 1:2) DELETED
        S: * ESEARCH (TAG "A06") PARTIAL (1:2 2,10)
        S: A06 OK SEARCH completed
        C: A07 SEARCH RETURN (ALL) $
        S: * ESEARCH (TAG "A07") ALL 2,10
        S: A07 OK SEARCH completed
        C: A08 UID FETCH 3:12 (UID) (PARTIAL -1:-2)
        S: * 9 FETCH (UID 11)
        S: * 10 FETCH (UID 12)
        S: A08 OK FETCH completed
        C: A09 UID FETCH 1:* (UID) (PARTIAL 1:2 CHANGEDSINCE 3)
        S: * OK [HIGHESTMODSEQ 4] Highest
        S: * 2 FETCH (UID 4 MODSEQ (4))
        S: * 10 FETCH (UID 12 MODSEQ (4))
        S: A09 OK FETCH completed
        C: e1 SEARCH RETURN (PARTIAL 1:2 ALL) ALL
        S: e1 BAD PARTIAL goes with neither ALL nor another PARTIAL
        C: e2 SEARCH RETURN (PARTIAL -1:2) ALL
        S: e2 BAD both ends must count from the same side
        C: e3 SEARCH RETURN (PARTIAL 0:2) ALL
        S: e3 BAD range expected
        C: e4 SEARCH RETURN (PARTIAL 1:4294967296) ALL
        S: e4 BAD number too large
        C: e5 FETCH 1:3 (UID) (PARTIAL 1:2)
        S: e5 BAD PARTIAL is for UID FETCH
        """)
