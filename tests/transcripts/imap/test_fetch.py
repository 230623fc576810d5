"""FETCH: items, sections, partials, numbers (RFC 9051 §6.4.5, §7.5.2)."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import pytest
from bson import ObjectId

from mailcore.model.flags import FlagSet
from mailcore.services.content.content import ContentStore
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.store.message.blob_reader import BlobReader, Span
from mailcore.store.message.messages import Messages
from tests.transcripts.imap.dialogue import Imap

HEADER = (
    b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
    b"From: Terry Gray <gray@cac.washington.edu>\r\n"
    b"Subject: IMAP4rev1 WG mtg summary and minutes\r\n"
    b"To: imap@cac.washington.edu\r\n"
    b"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
    b"Message-Id: <B27397-0100000@cac.washington.edu>\r\n"
    b"X-Odd: folded\r\n value\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n"
)
TEXT = b"Line one\r\nLine two\r\n"

INNER = (
    b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n"
    b"--i\r\n\r\nplain\r\n--i\r\nContent-Type: text/html\r\n\r\n<p>\r\n--i--\r\n"
)
NESTED = (
    b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\npreamble\r\n"
    b"--o\r\nContent-Type: text/plain\r\nX-Part: 1\r\n\r\nfirst\r\n"
    b"--o\r\nContent-Type: message/rfc822\r\n\r\n" + INNER + b"\r\n--o--\r\n"
)


@pytest.fixture
def rfc(imap: Imap) -> Imap:
    """RFC 3501's own message, selected."""
    imap.append(NewMessage(HEADER + TEXT, FlagSet(1), 837596665))
    imap.sign_in(select="INBOX")
    return imap


def test_envelope_and_structure(rfc: Imap) -> None:
    """RFC 3501 §8."""
    rfc.transcript(r"""
        C: a003 fetch 1 full
        S: * 1 FETCH (FLAGS (\Seen) INTERNALDATE "17-Jul-1996 09:44:25 +0000" RFC822.SIZE 385 ENVELOPE ("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" (("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) ((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL "<B27397-0100000@cac.washington.edu>") BODY ("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 20 2))
        S: a003 OK FETCH completed
        C: a004 fetch 1 bodystructure
        S: * 1 FETCH (BODYSTRUCTURE ("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 20 2 NIL NIL NIL NIL))
        S: a004 OK FETCH completed
        """)  # noqa: E501


def test_items_by_uid_carry_the_uid(rfc: Imap) -> None:
    rfc.transcript(r"""
        C: a UID FETCH 1 FLAGS
        S: * 1 FETCH (UID 1 FLAGS (\Seen))
        S: a OK FETCH completed
        C: b UID FETCH 1 (FLAGS UID)
        S: * 1 FETCH (FLAGS (\Seen) UID 1)
        S: b OK FETCH completed
        C: c UID FETCH 7 FLAGS
        S: c OK FETCH completed
        """)


def _section(imap: Imap, item: str, number: int = 1) -> tuple[bytes, bytes]:
    """The label and the value of one BODY item, fetched alone."""
    answer = imap.clients[""].run(f"FETCH {number} {item}")
    assert answer.startswith(b"* %d FETCH (" % number)
    inside = answer[answer.index(b"(") + 1 : answer.rindex(b")\r\nt OK")]
    end = (
        inside.index(b">") + 1
        if b"]<" in inside[:200]
        else inside.index(b"]") + 1
        if b"]" in inside
        else inside.index(b" ")
    )
    label, value = inside[:end], inside[end + 1 :]
    if value.startswith(b"{"):
        size, _, data = value[1:].partition(b"}\r\n")
        assert len(data) == int(size)
        return label, data
    return label, value


SECTIONS = [
    ("BODY.PEEK[]", b"BODY[]", HEADER + TEXT),
    ("BODY.PEEK[HEADER]", b"BODY[HEADER]", HEADER),
    ("BODY.PEEK[TEXT]", b"BODY[TEXT]", TEXT),
    ("BODY.PEEK[1]", b"BODY[1]", TEXT),
    ("BODY.PEEK[2]", b"BODY[2]", b"NIL"),
    ("BODY.PEEK[1.1]", b"BODY[1.1]", b"NIL"),
    ("BODY.PEEK[1.HEADER]", b"BODY[1.HEADER]", b"NIL"),
    ("RFC822", b"RFC822", HEADER + TEXT),
    ("RFC822.HEADER", b"RFC822.HEADER", HEADER),
    ("RFC822.TEXT", b"RFC822.TEXT", TEXT),
    ("BODY.PEEK[]<0.10>", b"BODY[]<0>", HEADER[:10]),
    ("BODY.PEEK[]<380.100>", b"BODY[]<380>", (HEADER + TEXT)[380:]),
    ("BODY.PEEK[]<385.1>", b"BODY[]<385>", b'""'),
    ("BODY.PEEK[]<9999999999.1>", b"BODY[]<9999999999>", b'""'),
    ("BODY.PEEK[TEXT]<5.3>", b"BODY[TEXT]<5>", b"one"),
    (
        "BODY.PEEK[HEADER.FIELDS (Subject to)]",
        b"BODY[HEADER.FIELDS (Subject to)]",
        b"Subject: IMAP4rev1 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n\r\n",
    ),
    ("BODY.PEEK[HEADER.FIELDS (X-Odd)]", b"BODY[HEADER.FIELDS (X-Odd)]", b"X-Odd: folded\r\n value\r\n\r\n"),
    ("BODY.PEEK[HEADER.FIELDS (Nothing)]", b"BODY[HEADER.FIELDS (Nothing)]", b"\r\n"),
    ("BODY.PEEK[HEADER.FIELDS (To)]<4.4>", b"BODY[HEADER.FIELDS (To)]<4>", b"imap"),
    (
        "BODY.PEEK[HEADER.FIELDS.NOT (Date From Subject To Cc Message-Id X-Odd)]",
        b"BODY[HEADER.FIELDS.NOT (Date From Subject To Cc Message-Id X-Odd)]",
        b"MIME-Version: 1.0\r\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n",
    ),
]


@pytest.mark.parametrize(("item", "label", "value"), SECTIONS)
def test_sections(rfc: Imap, item: str, label: bytes, value: bytes) -> None:
    assert _section(rfc, item) == (label, value)


NESTED_SECTIONS = [
    ("1", b"first"),
    ("1.MIME", b"Content-Type: text/plain\r\nX-Part: 1\r\n\r\n"),
    ("2", INNER),
    ("2.HEADER", INNER[: INNER.index(b"\r\n\r\n") + 4]),
    ("2.TEXT", INNER[INNER.index(b"\r\n\r\n") + 4 :]),
    ("2.1", b"plain"),
    ("2.2", b"<p>"),
    ("2.2.MIME", b"Content-Type: text/html\r\n\r\n"),
    ("2.HEADER.FIELDS (Subject)", b"Subject: inner\r\n\r\n"),
    ("TEXT", NESTED[NESTED.index(b"\r\n\r\n") + 4 :]),
    ("3", b"NIL"),
    ("2.3", b"NIL"),
    ("1.TEXT", b"NIL"),
]


@pytest.mark.parametrize(("section", "value"), NESTED_SECTIONS)
def test_sections_of_parts(imap: Imap, section: str, value: bytes) -> None:
    """RFC 9051 §6.4.5.1."""
    imap.append(NESTED)
    imap.sign_in(select="INBOX")
    assert _section(imap, f"BODY.PEEK[{section}]")[1] == value


def test_several_sections_in_one_answer(rfc: Imap) -> None:
    rfc.transcript(r"""
        C: a FETCH 1 (BODY.PEEK[TEXT]<0.4> UID BODY.PEEK[7] BODY.PEEK[TEXT]<5.3> RFC822.SIZE)
        S: * 1 FETCH (UID 1 RFC822.SIZE 385 BODY[TEXT]<0> {4}
        S: Line BODY[7] NIL BODY[TEXT]<5> {3}
        S: one)
        S: a OK FETCH completed
        """)


def test_body_sets_seen_and_peek_does_not(imap: Imap) -> None:
    imap.fill(2)
    imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: a FETCH 1 (FLAGS BODY.PEEK[TEXT])
        S: * 1 FETCH (FLAGS () BODY[TEXT] {8}
        S: Text 1
        S: )
        S: a OK FETCH completed
        C: b FETCH 1:2 (BODY[TEXT])
        S: * 1 FETCH (BODY[TEXT] {8}
        S: Text 1
        S: )
        S: * 2 FETCH (BODY[TEXT] {8}
        S: Text 2
        S: )
        S: * 1 FETCH (UID 1 FLAGS (\Seen))
        S: * 2 FETCH (UID 2 FLAGS (\Seen))
        S: b OK FETCH completed
        C: c FETCH 1 (BODY[HEADER.FIELDS (Subject)])
        S: * 1 FETCH (BODY[HEADER.FIELDS (Subject)] {21}
        S: Subject: number 1
        S:
        S: )
        S: c OK FETCH completed
        """)


def test_numbers_and_ranges(imap: Imap) -> None:
    """RFC 9051 §9 sequence-set: order does not matter, `*` is the last."""
    imap.fill(5)
    imap.sign_in(select="INBOX")
    imap.transcript(r"""
        C: a FETCH 4:2,1 UID
        S: * 1 FETCH (UID 1)
        S: * 2 FETCH (UID 2)
        S: * 3 FETCH (UID 3)
        S: * 4 FETCH (UID 4)
        S: a OK FETCH completed
        C: b FETCH *:4 UID
        S: * 4 FETCH (UID 4)
        S: * 5 FETCH (UID 5)
        S: b OK FETCH completed
        C: c FETCH 6 UID
        S: c BAD No such message number
        C: d FETCH 1:6 UID
        S: d BAD No such message number
        C: e UID FETCH 99:* UID
        S: * 5 FETCH (UID 5)
        S: e OK FETCH completed
        C: f UID FETCH 4:99999 UID
        S: * 4 FETCH (UID 4)
        S: * 5 FETCH (UID 5)
        S: f OK FETCH completed
        C: g FETCH 1,1,1 UID
        S: * 1 FETCH (UID 1)
        S: g OK FETCH completed
        """)


def test_large_body_comes_in_pieces(imap: Imap) -> None:
    raw = b"Subject: large\r\n\r\n" + b"0123456789abcde\n" * 100_000
    imap.append(raw)
    client = imap.sign_in(select="INBOX")
    client.sent_sizes.clear()
    answer = client.run("FETCH 1 BODY.PEEK[]")
    assert raw in answer
    assert _section(imap, "BODY.PEEK[]<1000000.10>")[1] == raw[1_000_000:1_000_010]


def test_many_messages_in_batches(imap: Imap) -> None:
    imap.fill(1200)
    client = imap.sign_in(select="INBOX")
    for item in ("FLAGS", "(UID ENVELOPE)", "BODY.PEEK[]", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]"):
        answer = client.run(f"FETCH 1:* {item}")
        numbers = [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"* ")]
        assert numbers == list(range(1, 1201)), item
    assert max(client.sent_sizes) < 1 << 20


def test_hostile_headers_cannot_leave_their_string(imap: Imap) -> None:
    """N10."""
    imap.append(
        b'Subject: {5}\r\nFrom: "a\\"b {3}" <x"y@z>\r\nTo: =?utf-8?q?a=0D=0A*_BYE?= <x@y>\r\n'
        b'Message-ID: <">\r\nContent-Type: text/plain; name="a\r\n b\\"{9}"\r\nX: \0\xff\r\n\r\n'
    )
    client = imap.sign_in(select="INBOX")
    answer = client.run("FETCH 1 (ENVELOPE BODYSTRUCTURE)")
    assert answer.count(b"\r\n* ") == 0


def test_message_expunged_by_another_session(imap: Imap) -> None:
    imap.select_in_two_sessions("INBOX", 3, {2})
    imap.transcript(r"""
        C1: a EXPUNGE
        S1: * 2 EXPUNGE
        S1: a OK EXPUNGE completed
        C2: b FETCH 1:3 (UID FLAGS)
        S2: * 1 FETCH (UID 1 FLAGS ())
        S2: * 2 FETCH (UID 2 FLAGS (\Deleted))
        S2: * 3 FETCH (UID 3 FLAGS ())
        S2: b OK FETCH completed
        # now this session knows, and may not say so in answer to FETCH
        C2: c FETCH 1:3 (UID)
        S2: * 1 FETCH (UID 1)
        S2: * 3 FETCH (UID 3)
        S2: c NO [EXPUNGEISSUED] Some of the messages are gone
        C2: d UID FETCH 1:3 (UID)
        S2: * 1 FETCH (UID 1)
        S2: * 3 FETCH (UID 3)
        S2: * 2 EXPUNGE
        S2: d OK FETCH completed
        C2: e FETCH 2 UID
        S2: * 2 FETCH (UID 3)
        S2: e OK FETCH completed
        """)


def test_little_is_read_at_once(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many large messages are asked for, few are in memory together."""
    imap.append(*(b"Subject: large\r\n\r\n" + b"0123456789abcde\n" * 60_000 for _ in range(12)))
    client = imap.sign_in(select="INBOX")
    asked: list[int] = []
    open_many = ContentStore.open_many

    def counted(self: ContentStore, user_id: object, oids: list[bytes], *, whole: bool) -> object:
        asked.append(len(oids))
        return open_many(self, user_id, oids, whole=whole)  # type: ignore[arg-type]

    monkeypatch.setattr(ContentStore, "open_many", counted)
    client.run("FETCH 1:* BODY.PEEK[]")
    assert sum(asked) == 12
    assert max(asked) <= 6


def _with_attachment(number: int, lines: int) -> bytes:
    encoded = base64.b64encode(b"%05d" % number * 12)[:76]
    return (
        b"Subject: attached\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + (encoded + b"\r\n") * lines
    )


def test_attachments_of_several_messages_are_read_together(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few round trips, bounded memory: what is too large to be held is read alone."""
    messages = [_with_attachment(number, 1_000) for number in range(20)] + [_with_attachment(20, 60_000)]
    imap.append(*messages)
    client = imap.sign_in(select="INBOX")
    asked: list[int] = []
    read = BlobReader.read

    def counted(self: BlobReader, tenant_id: ObjectId, spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
        asked.append(len(spans))
        return read(self, tenant_id, spans)

    monkeypatch.setattr(BlobReader, "read", counted)
    answer = client.run("FETCH 1:* BODY.PEEK[]")
    for message in messages:
        assert b"BODY[] {%d}\r\n%b)\r\n" % (len(message), message) in answer
    assert asked == [20, 1]
    asked.clear()
    client.run("FETCH 1:* BODY.PEEK[]<0.10>")
    assert not any(asked)


def test_items_are_read_from_the_database_once(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    imap.append(b"Subject: one\r\n\r\n1\r\n", b"Subject: two\r\n\r\n2\r\n")
    asked: list[int] = []
    find = Messages.find

    def counted(self: Messages, user_id: ObjectId, oids: Sequence[bytes], fields: dict[str, int]) -> object:
        asked.append(len(oids))
        return find(self, user_id, oids, fields)

    monkeypatch.setattr(Messages, "find", counted)
    client = imap.sign_in(select="INBOX")
    first = client.run("FETCH 1:2 (ENVELOPE BODYSTRUCTURE)")
    assert asked == [2]
    imap.append(b"Subject: three\r\n\r\n3\r\n")
    client.run("NOOP")
    assert client.run("FETCH 1:2 (ENVELOPE BODYSTRUCTURE)").splitlines()[:2] == first.splitlines()[:2]
    assert asked == [2]
    client.run("FETCH 1:* ENVELOPE")
    assert asked == [2, 1]
