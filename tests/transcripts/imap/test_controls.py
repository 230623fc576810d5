"""Negative controls: with one function replaced, each attack succeeds, so the tests that refuse it can fail."""

from __future__ import annotations

import pytest

from mailcore.imap.wire import mailbox_name, responses, scanner
from mailcore.imap.wire.responses import ListResponse
from mailcore.imap.wire.scanner import Scanner
from mailcore.model import search
from tests.transcripts.imap.dialogue import Imap


def _large_literal_is_refused(imap: Imap) -> bool:
    return b" BAD " in imap.connect().ask(b"a LOGIN {99999999999}\r\n")


def test_literal_without_limit(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """N5."""
    assert _large_literal_is_refused(imap)
    begin = Scanner.__init__
    monkeypatch.setattr(Scanner, "__init__", lambda self, _limit, append=0: begin(self, 1 << 62, append))
    assert not _large_literal_is_refused(imap)


def _deep_search_is_refused(imap: Imap) -> bool:
    client = imap.sign_in(select="INBOX")
    return client.ask(b"a SEARCH " + b"(" * 20_000 + b"\r\n").startswith(b"a BAD ")


def test_nesting_without_limit(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """N6: it would end in a RecursionError, which is an internal fault."""
    assert _deep_search_is_refused(imap)
    monkeypatch.setattr(search, "MAX_DEPTH", 1 << 30)
    assert not _deep_search_is_refused(imap)


def _name_stays_in_its_line() -> bool:
    line = ListResponse(b"LIST", (), "x\r\n* BYE gone").encode(utf8=True)
    return line.startswith(b'* LIST () "/" {')


def test_names_written_without_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """N10."""
    assert _name_stays_in_its_line()
    monkeypatch.setattr(responses, "_QUOTABLE_UTF8", scanner.re.compile(b"(?s).*"))
    assert not _name_stays_in_its_line()


def _disguise_is_refused(imap: Imap) -> bool:
    return imap.sign_in().ask(b"a CREATE &AEE-\r\n").startswith(b"a NO [CANNOT]")


def test_names_in_any_spelling(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """W20."""
    assert _disguise_is_refused(imap)
    monkeypatch.setattr(mailbox_name, "encode_utf7", lambda name: b"&AEE-")
    assert not _disguise_is_refused(imap)


def _injection_is_not_answered(imap: Imap) -> bool:
    client = imap.connect(offers_starttls=True)
    answer = client.ask(b"a STARTTLS\r\nb NOOP\r\n")
    return client.is_closed and b"b OK" not in answer


def test_input_behind_starttls_kept(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """N1."""
    assert _injection_is_not_answered(imap)
    monkeypatch.setattr(Scanner, "holds_input", property(lambda _self: False))
    assert not _injection_is_not_answered(imap)
