"""What may be in a message: one end, one reading, nobody's Bcc (attacks N3, M8, M9)."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from mailcore.errors import StoreUnavailable
from mailcore.message import outgoing as outgoing_module
from mailcore.services.events.journal import Journal
from mailcore.services.outbound import submission as submission_module
from mailcore.services.outbound.dkim import Dkim
from mailcore.smtp import connection as connection_module
from mailcore.smtp.wire import data_reader
from tests.builders import OPERATOR, make_user
from tests.transcripts.submission.conftest import Client, messages_in

ENDS = {
    "LF.LF": b"\n.\n", "LF.CRLF": b"\n.\r\n", "CRLF.LF": b"\r\n.\n", "CR.CR": b"\r.\r", "CR.CRLF": b"\r.\r\n",
    "CRLF.CR": b"\r\n.\r", "NUL before": b"\r\n\0.\r\n", "NUL behind": b"\r\n.\0\r\n", "LF.CR": b"\n.\r",
    "CRCRLF.": b"\r\r\n.\r\r\n",
}  # fmt: skip
SMUGGLED = (
    b"MAIL FROM:<evil@else.test>\r\nRCPT TO:<victim@else.test>\r\nDATA\r\nFrom: evil@else.test\r\n\r\nsmuggled\r\n"
)
REFUSED = "550 5.6.11 A CR or LF alone, or a NUL, is in the message; lines end with CRLF"


def begin(client: Client) -> None:
    client.ask(f"MAIL FROM:<{client.user.address}>\r\nRCPT TO:<bob@else.test>\r\n")


@pytest.mark.parametrize("cut", ["whole", "at the dot", "octet by octet"])
@pytest.mark.parametrize("end", sorted(ENDS))
def test_nothing_but_crlf_dot_crlf_ends_data(common: Client, end: str, cut: str) -> None:
    """Attack N3: the message goes on to its real end, is refused as a whole, and the session is where it was."""
    before = len(common.queued())
    begin(common)
    common.ask("DATA\r\n")
    content = b"Subject: x\r\n\r\nbefore" + ENDS[end] + SMUGGLED
    at = content.index(b".")
    pieces = {
        "whole": [content],
        "at the dot": [content[:at], content[at : at + 1], content[at + 1 :]],
        "octet by octet": [bytes((octet,)) for octet in content],
    }[cut]
    for piece in pieces:
        assert common.ask(piece) == []
    common.say(b".\r\n", REFUSED)
    assert len(common.queued()) == before
    common.say("NOOP\r\n", "250 2.0.0 OK")


@pytest.mark.parametrize("end", sorted(ENDS))
def test_nothing_in_a_chunk_ends_it(common: Client, end: str) -> None:
    """Attack N3 by BDAT, also where the chunk ends within the sequence."""
    before = len(common.queued())
    content = b"Subject: x\r\n\r\nbefore" + ENDS[end] + SMUGGLED
    at = content.index(b".") + 1
    begin(common)
    common.say(f"BDAT {at}\r\n".encode() + content[:at], "250 2.0.0 Chunk received")
    common.say(f"BDAT {len(content) - at} LAST\r\n".encode() + content[at:], REFUSED)
    assert len(common.queued()) == before
    common.say("NOOP\r\n", "250 2.0.0 OK")


def test_a_reader_that_takes_other_ends_is_fooled(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with LF.LF for an end the smuggled message is taken, in the sender's own name at least."""
    monkeypatch.setattr(data_reader, "_END", b"\n.\n")
    begin(client)
    client.ask("DATA\r\n")
    smuggled = SMUGGLED.replace(b"evil@else.test", client.user.address.encode())
    answers = client.ask(b"Subject: x\r\n\r\nbefore\n.\n" + smuggled + b"\n.\n")
    assert len(answers) > 2


def test_who_takes_bare_line_ends_sends_them_on(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the refusal: the octets would be in what goes out."""
    monkeypatch.setattr(connection_module, "_content_of", lambda reader: (reader.message(), False))
    content = b"Subject: x\r\n\r\nbefore\n.\nafter\r\n"
    begin(client)
    client.ask(f"BDAT {len(content)} LAST\r\n".encode() + content)
    assert b"before\n.\nafter" in client.outgoing()[0]


# -- Bcc (attack M9) ----------------------------------------------------------------------------

BCC = (
    b"Bcc: hidden@else.test\r\n", b"BCC: Hidden <hidden@else.test>\r\n", b"bcc:\r\n hidden@else.test\r\n",
    b"Resent-Bcc: hidden@else.test\r\n", b"Bcc:hidden@else.test,\r\n\tother@else.test\r\n",
)  # fmt: skip
BCC_FIELD = re.compile(rb"^(resent-)?bcc\s*:", re.IGNORECASE | re.MULTILINE)
"""As a field: boundaries, signatures and names of ours are at random and may hold these letters."""


@pytest.mark.parametrize("field", BCC)
def test_nobody_learns_who_was_in_bcc(client: Client, field: bytes) -> None:
    """It is in the copy in Sent, and in the envelope, and nowhere else."""
    raw = b"From: %s\r\n%sSubject: x\r\n\r\nbody\r\n" % (client.user.address.encode(), field)
    assert client.send(raw, "bob@else.test", "hidden@else.test").startswith("250 ")
    sent_out = client.outgoing()[0]
    assert b"hidden" not in sent_out
    assert not BCC_FIELD.search(sent_out)
    assert field in client.sent()[0]
    assert [one.address for one in client.queued()[0].recipients] == ["bob@else.test", "hidden@else.test"]


def test_the_journal_has_who_it_went_to_and_no_bcc(client: Client) -> None:
    """The envelope is what a journal is for; the header is the one that went out. A repeat is reported once."""
    archive = make_user(client.services, tenant=(client.user.tenant_id, client.user.address.partition("@")[2]))
    client.services.journal.set_archive(OPERATOR, client.user.tenant_id, archive.user_id)
    raw = b"Bcc: hidden@else.test\r\nSubject: x\r\nMessage-ID: <1@own>\r\nDate: now\r\n\r\nbody\r\n"
    for _ in range(2):
        assert client.send(raw, "bob@else.test", "hidden@else.test").startswith("250 ")
    (report,) = messages_in(client.services, archive, "INBOX")
    facts, _, message = report.partition(b"Content-Type: message/rfc822")
    assert b"Recipient: hidden@else.test" in facts
    assert b"X-Journal-Report: outgoing" in facts
    assert b"hidden" not in message
    assert not BCC_FIELD.search(message)


def test_nothing_is_taken_that_cannot_be_reported(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_user(client.services, tenant=(client.user.tenant_id, client.user.address.partition("@")[2]))
    client.services.journal.set_archive(OPERATOR, client.user.tenant_id, archive.user_id)

    def away(*_: object) -> None:
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(Journal, "_put", away)
    assert client.send(b"Subject: x\r\n\r\nbody\r\n").startswith("451 ")
    assert client.queued() == []


def test_who_leaves_bcc_in_tells_everybody(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(submission_module, "REMOVED_FIELDS", frozenset())
    client.send(b"Bcc: hidden@else.test\r\nSubject: x\r\n\r\nbody\r\n", "hidden@else.test")
    assert b"hidden" in client.outgoing()[0]


def test_what_only_others_may_say_is_removed(client: Client) -> None:
    """Return-Path and results of checks are said by who receives; a signature stays (RFC 6376 §4.2)."""
    fields = (
        "Return-Path: <x@else.test>", "Delivered-To: x@else.test", "DKIM-Signature: v=1; d=bank.test; b=x",
        "Authentication-Results: mx.test; dkim=pass", "ARC-Seal: i=1", "Received-SPF: pass", "X-Eider-Origin: x",
    )  # fmt: skip
    raw = "".join(f"{field}\r\n" for field in fields).encode() + b"X-Own: kept\r\nSubject: x\r\n\r\nbody\r\n"
    client.send(raw)
    header = client.outgoing()[0].partition(b"\r\n\r\n")[0]
    assert names(header) == {
        "received": 1, "x-eider-origin": 1, "x-own": 1, "dkim-signature": 1, "subject": 1, "date": 1, "message-id": 1,
        "from": 1,
    }  # fmt: skip


# -- header injection (attack M8) ---------------------------------------------------------------


def names(header: bytes) -> Counter[str]:
    """How often there is a field of each name, as a simple reader sees it."""
    lines = re.split(rb"\r?\n|\r", header)
    return Counter(
        line.partition(b":")[0].strip().lower().decode() for line in lines if line[:1] not in b" \t" and line
    )


WORDS = (
    "a\rBcc: hidden@else.test", "a\nBcc: hidden@else.test", "a\r\n\r\nBody: first", "a\0b", "a\x0bBcc: x", "a\x7fb",
    "a\x0cBcc: x", "=?utf-8?q?a=0D=0ABcc:_hidden=40else.test?=", "=?utf-8?b?YQ0KQmNjOiB4?=", "a\u2028Bcc: x",
    "a\x85Bcc: x",
)  # fmt: skip


@pytest.mark.parametrize("name", ["Subject", "From", "Reply-To", "X-Custom", "To"])
@pytest.mark.parametrize("word", WORDS)
def test_no_word_makes_a_field_of_its_own(common: Client, name: str, word: str) -> None:
    """The header has the fields that were meant, or the message is refused."""
    before = len(common.queued())
    own = common.user.address
    value = f'"{word}" <{own}>' if name in {"From", "Reply-To", "To"} else word
    others = "".join(f"{other}: {own}\r\n" for other in ("From", "To") if other != name)
    raw = f"{name}: {value}\r\n{others}\r\nbody\r\n".encode()
    reply = common.send(raw)
    if reply[0] == "5":
        assert len(common.queued()) == before
        return
    assert len(common.queued()) == before + 1
    newest = common.queued()[-1].id
    raw_out = b"".join(common.services.outbound.content(common.user.user_id, newest).read())
    header, _, body = raw_out.partition(b"\r\n\r\n")
    expected = {name.lower(): 1, "from": 1, "to": 1, "received": 1, "x-eider-origin": 1, "date": 1, "message-id": 1}
    if re.search(r"\r\n\r\n", word):  # then its sender made a body of it, and no more
        expected = {key: value for key, value in names(header).items() if key in expected}
    assert names(header) == expected
    assert b"hidden" not in header or b"=?" in header
    assert body.endswith(b"body\r\n")


def test_a_reader_that_takes_controls_lets_fields_in(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with bare line ends and controls taken, a word is a field of its own."""
    monkeypatch.setattr(connection_module, "_content_of", lambda reader: (reader.message(), False))
    monkeypatch.setattr(outgoing_module, "_CONTROL", re.compile(rb"(?!)"))
    client.ask(f"MAIL FROM:<{client.user.address}>\r\nRCPT TO:<bob@else.test>\r\n")
    raw = b"Subject: a\rX-Evil: hidden\r\n\r\nbody\r\n"
    client.ask(f"BDAT {len(raw)} LAST\r\n".encode() + raw)
    assert names(client.outgoing()[0].partition(b"\r\n\r\n")[0])["x-evil"] == 1


def test_rewritten_and_added_fields_hold_nothing_of_the_message(client: Client) -> None:
    """What we put into a header of ours comes from the directory: neither HELO nor a name can add to it."""
    client.ask("EHLO name-of-the-client.example\r\n")
    client.send(b"Subject: x\r\n\r\nbody\r\n")
    assert b"name-of-the-client" not in client.outgoing()[0]


def test_signatures_cover_what_goes_out(client: Client) -> None:
    """They are made last: of the message without Bcc and with what was added."""
    domain = client.user.address.partition("@")[2]
    client.services.dkim_keys.create(OPERATOR, client.user.tenant_id, domain, is_active=True)
    client.send(b"Bcc: hidden@else.test\r\nSubject: x\r\n\r\nbody\r\n")
    raw = client.outgoing()[0]
    assert raw.startswith(b"DKIM-Signature: v=1; a=rsa-sha256;")
    assert b"hidden" not in raw


def test_who_sends_unsigned_would_be_seen(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(Dkim, "sign", lambda *_: b"")
    domain = client.user.address.partition("@")[2]
    client.services.dkim_keys.create(OPERATOR, client.user.tenant_id, domain, is_active=True)
    client.send(b"Subject: x\r\n\r\nbody\r\n")
    assert b"DKIM-Signature" not in client.outgoing()[0]
