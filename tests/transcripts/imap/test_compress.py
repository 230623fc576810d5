"""COMPRESS (RFC 4978): what leads to it; the compressed stream itself is the pump's."""

from __future__ import annotations

from mailcore.model.actions import Rest, StartCompression
from tests.transcripts.imap.dialogue import Imap


def test_compression_begins(imap: Imap) -> None:
    """RFC 4978 §3: from the line after OK on; announced until then."""
    client = imap.sign_in()
    assert b" COMPRESS=DEFLATE " in client.run("CAPABILITY")
    assert client.ask(b"a COMPRESS DEFLATE\r\n").startswith(b"a OK ")
    (start,) = (action for action in client.others if isinstance(action, StartCompression))
    assert start.farewell.startswith(b"* BYE ")
    assert b"COMPRESS" not in client.run("CAPABILITY")
    assert client.ask(b"b COMPRESS DEFLATE\r\n").startswith(b"b NO [COMPRESSIONACTIVE] ")


def test_not_before_signing_in(imap: Imap) -> None:
    """N8: no password is ever compressed, nor does anybody unknown cost a window."""
    client = imap.connect()
    assert b"COMPRESS" not in client.greeting
    assert client.ask(b"a COMPRESS DEFLATE\r\n").startswith(b"a BAD ")


def test_other_algorithms(imap: Imap) -> None:
    client = imap.sign_in()
    assert client.ask(b"a COMPRESS LZW\r\n").startswith(b"a NO [CANNOT] ")
    assert client.ask(b"a COMPRESS\r\n").startswith(b"a BAD ")
    assert client.ask(b"a COMPRESS DEFLATE 9\r\n").startswith(b"a BAD ")
    assert not client.others


def test_input_pipelined_behind_it_ends_the_connection(imap: Imap) -> None:
    """Whether it was compressed nobody can tell."""
    client = imap.sign_in()
    answer = client.ask(b"a COMPRESS DEFLATE\r\nb NOOP\r\n")
    assert client.is_closed
    assert b"b OK" not in answer
    assert not client.others


def test_rest_is_told_between_commands_only(imap: Imap) -> None:
    client = imap.sign_in()
    client.run("NOOP")
    assert not client.others
    client.run("COMPRESS DEFLATE")
    client.others.clear()
    client.run("NOOP")
    assert client.others == [Rest()]
    client.others.clear()
    client.ask(b"a NOOP\r\nb NO")
    assert not client.others
    client.ask(b"OP\r\nc APPEND INBOX {5}\r\n")
    assert not client.others
    client.ask(b"A: b\n\r\n")
    assert client.others == [Rest()]
    client.others.clear()
    client.run("SELECT INBOX")
    client.others.clear()
    client.ask(b"d IDLE\r\n")
    assert client.others == [Rest()]
