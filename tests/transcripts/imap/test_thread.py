"""THREAD=REFERENCES and THREAD=ORDEREDSUBJECT (RFC 5256 §4)."""

from __future__ import annotations

import re

from mailcore.services.mailboxes.messages import NewMessage
from tests.transcripts.imap.dialogue import Imap


def _message(number: int, subject: str = "", references: str = "", own: str = "") -> NewMessage:
    lines = [f"Message-ID: {own or f'<{number}@x>'}"]
    if subject:
        lines.append(f"Subject: {subject}")
    if references:
        lines.append("References: " + " ".join(f"<{name}@x>" for name in references.split()))
    return NewMessage(("\r\n".join(lines) + "\r\n\r\n").encode(), internal_date=1_700_000_000 + number)


def _ask(imap: Imap, *messages: NewMessage, algorithm: str = "REFERENCES") -> str:
    imap.append(*messages)
    client = imap.sign_in(select="INBOX")
    answer = client.run(f"THREAD {algorithm} UTF-8 ALL")
    return answer.split(b"\r\n")[0].decode().removeprefix("* THREAD").strip()


def test_ordered_subject(imap: Imap) -> None:
    """§4: one level, the threads by the date of their first message."""
    assert (
        _ask(
            imap,
            _message(1, "b"),
            _message(2, "a"),
            _message(3, "Re: b"),
            _message(4, "c"),
            _message(5, "Re: b"),
            _message(6, "[x] A"),
            algorithm="ORDEREDSUBJECT",
        )
        == "(1 (3)(5))(2 6)(4)"
    )


def test_chains_and_branches(imap: Imap) -> None:
    """§5, the example's shape: (2)(3 6 (4 23)(44 7 96))."""
    assert (
        _ask(
            imap,
            _message(1, "s1"),
            _message(2, "s2"),
            _message(3, "Re: s2", "2"),
            _message(4, "Re: s2", "2 3"),
            _message(5, "Re: s2", "2 3 4"),
            _message(6, "Re: s2", "2 3"),
            _message(7, "Re: s2", "2 3 6"),
        )
        == "(1)(2 3 (4 5)(6 7))"
    )


def test_missing_ancestors(imap: Imap) -> None:
    """§4 step 3: one child takes its place, several stay together under nothing."""
    assert (
        _ask(
            imap,
            _message(1, "a", "lost"),
            _message(2, "b", "lost"),
            _message(3, "c", "gone"),
            _message(4, "d", "deep deeper 3"),
        )
        == "((1)(2))(3 4)"
    )


def test_missing_links_in_the_middle(imap: Imap) -> None:
    assert _ask(imap, _message(1, "a"), _message(2, "x", "1 lost"), _message(3, "y", "1 lost gone")) == "(1 (2)(3))"


def test_in_reply_to(imap: Imap) -> None:
    raw = b"Message-ID: <2@x>\r\nIn-Reply-To: <1@x> <9@x>\r\n\r\n"
    assert _ask(imap, _message(1, "a"), NewMessage(raw)) == "(1 2)"


def test_same_id_twice_and_none(imap: Imap) -> None:
    """§4 step 1: only the first has it."""
    assert (
        _ask(
            imap,
            _message(1, "a", own="<1@x>"),
            _message(2, "b", own="<1@x>"),
            _message(3, "c", own="none"),
            _message(4, "d", "1"),
        )
        == "(1 4)(2)(3)"
    )


def test_loops_are_cut(imap: Imap) -> None:
    found = _ask(
        imap,
        _message(1, "a", "3"),
        _message(2, "b", "1"),
        _message(3, "c", "2"),
        _message(4, "d", "4"),
        _message(5, "e", "5 6 5"),
    )
    assert sorted(re.findall(r"\d+", found)) == ["1", "2", "3", "4", "5"]


def test_gathered_by_subject(imap: Imap) -> None:
    """§4 step 5: an answer whose ancestors are unknown goes below; two beginnings stand side by side."""
    assert (
        _ask(
            imap,
            _message(1, "Re: lunch"),
            _message(2, "lunch"),
            _message(3, "dinner"),
            _message(4, "dinner"),
            _message(5, "tea", "lost"),
            _message(6, "tea", "lost"),
            _message(7, "Re: tea"),
            _message(8),
            _message(9),
        )
        == "(2 1)((3)(4))((5)(6)(7))(8)(9)"
    )


def test_only_what_is_searched_and_as_uids(imap: Imap) -> None:
    imap.fill(2, deleted={1, 2})
    imap.append(_message(3, "a"), _message(4, "x", "3"), _message(5, "y", "3 4"))
    client = imap.sign_in(select="INBOX")
    client.run("EXPUNGE")
    imap.transcript("""
        C: a UID THREAD REFERENCES UTF-8 ALL
        S: * THREAD (3 4 5)
        S: a OK THREAD completed
        C: b THREAD REFERENCES UTF-8 1:2
        S: * THREAD (1 2)
        S: b OK THREAD completed
        C: c THREAD REFERENCES UTF-8 NOT 2
        S: * THREAD (1 3)
        S: c OK THREAD completed
        C: d THREAD REFERENCES US-ASCII DELETED
        S: * THREAD
        S: d OK THREAD completed
        C: e THREAD JWZ UTF-8 ALL
        S: e BAD unknown threading algorithm
        C: f THREAD REFERENCES KOI8-R ALL
        S: f NO [BADCHARSET (UTF-8 US-ASCII)] This charset is not supported
        C: g THREAD REFERENCES ALL
        S: g BAD space expected
        """)
