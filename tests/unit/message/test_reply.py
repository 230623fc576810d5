"""Automatic replies are one message whatever they answer and say (RFC 3834 §3.1, attack M8)."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import ValueInvalid
from mailcore.message import reply
from mailcore.message.addresses import parse_addresses
from mailcore.message.headers import find_first, iter_fields
from mailcore.message.reply import Answer, compose

AT = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
FIELDS = (
    b"from", b"to", b"subject", b"date", b"message-id", b"auto-submitted", b"precedence",
    b"x-auto-response-suppress", b"mime-version", b"content-type",
)  # fmt: skip


def answer(**changes: str | bytes) -> Answer:
    given_fields: dict[str, object] = {
        "from_name": "Ada", "from_address": "ada@here.test", "to_address": "bob@there.test",
        "header_message_id": "<1@mx.here.test>", "at": AT, "text": "I am away.",
    }  # fmt: skip
    return Answer(**(given_fields | changes))  # type: ignore[arg-type]


def names(message: bytes) -> Counter[bytes]:
    return Counter(field.name for field in iter_fields(message))


def test_a_reply_says_what_it_is_and_to_what() -> None:
    header = b"Subject: Lunch?\r\nMessage-ID: <c@x>\r\nReferences: <a@x>\r\n <b@x>\r\nBcc: hidden@x.test\r\n\r\n"
    made = compose(answer(kind="vacation", html="<p>away</p>"), header)
    parsed = message_from_bytes(made, policy=policy.default)
    assert parsed["Auto-Submitted"] == "auto-replied (vacation)"
    assert parsed["Precedence"] == "bulk"
    assert parsed["In-Reply-To"] == "<c@x>"
    assert parsed["References"].split() == ["<a@x>", "<b@x>", "<c@x>"]
    assert parsed["Subject"] == "Auto: Lunch?"
    assert [part.get_content_type() for part in parsed.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert b"hidden" not in made
    assert "Bcc" not in parsed


@pytest.mark.parametrize("before", [b"", b"References: " + b" ".join(b"<%d@x>" % n for n in range(500)) + b"\r\n"])
def test_references_stay_few(before: bytes) -> None:
    made = compose(answer(), before + b"Message-ID: <" + b"m" * 800 + b"@x>\r\n\r\n")
    assert len(message_from_bytes(made, policy=policy.default)["References"].split()) <= reply.MAX_REFERENCES
    assert all(len(line) < 998 for line in made.split(b"\r\n"))


def test_an_entity_brings_fields_of_content_only() -> None:
    mime = b"Content-Type: text/html; charset=utf-8\nBcc: all@x.test\nSubject: other\n\n<b>away</b>\n"
    made = compose(answer(mime=mime), b"\r\n")
    assert names(made) == Counter(dict.fromkeys(FIELDS, 1))
    assert made.endswith(b"\r\n\r\n<b>away</b>\r\n")


hostile = st.text(st.sampled_from('a\r\n\x00\x0b\x85\u2028:=?<>,;"\\ é𝄞'), max_size=40)


@given(name=hostile, subject=hostile, text=hostile, original=hostile)
def test_no_word_of_anybody_adds_a_field(name: str, subject: str, text: str, original: str) -> None:
    """M8: number and names of the fields are those expected, and the body is the text."""
    check_fields(name, subject, text, original)


def check_fields(name: str, subject: str, text: str, original: str) -> None:
    header = b"Subject: " + original.encode("utf-8", "replace").replace(b"\r", b"").replace(b"\n", b"") + b"\r\n\r\n"
    for how in (subject, ""):
        made = compose(answer(from_name=name, subject=how, text=text or "x"), header)
        assert names(made) == Counter(dict.fromkeys((*FIELDS, b"content-transfer-encoding"), 1))


def test_words_put_in_as_they_are_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(reply, "subject_of", lambda subject, _: subject)
    with pytest.raises((AssertionError, ValueError)):
        check_fields("Ada", "hello\r\nBcc: all@x.test", "x", "")


@pytest.mark.parametrize(
    "address",
    ['"a b"@x.test', '"a\\"b"@x.test', '"a@b,c"@x.test', "a@[192.0.2.1]", "ü@x.test", "a..b@x.test", "=@x.test"],
)
def test_whoever_sent_it_is_one_recipient(address: str) -> None:
    """However odd a reverse-path is, To has one address, and the header no other field."""
    made = compose(answer(to_address=address), b"\r\n")
    assert names(made) == Counter(dict.fromkeys((*FIELDS, b"content-transfer-encoding"), 1))
    to = find_first(made, b"to")
    assert to is not None
    [found] = parse_addresses(to)
    local = address.rpartition("@")[0]
    assert found.address == (local[1:-1].replace("\\", "") if local[0] == '"' else local) + address[len(local) :]


@pytest.mark.parametrize("address", ['"a\r\nBcc: x"@y.test', "a\nb@x.test", "a@x.test\r\nBcc: y"])
def test_an_address_that_cannot_stand_in_a_header_is_refused(address: str) -> None:
    with pytest.raises(ValueInvalid):
        compose(answer(to_address=address), b"\r\n")
