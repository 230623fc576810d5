"""Netstrings: whole, cut anywhere, and such as are none."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailcore.errors import SyntaxFault
from mailcore.lookup import wire
from mailcore.lookup.wire import (
    MAX_POLICY_BYTES,
    MAX_REQUEST_BYTES,
    PolicyRequest,
    Question,
    QuestionReader,
    answer,
)

QUESTIONS = [
    Question("domains", "example.org"),
    Question("recipients", "jörg@müller.test"),
    Question("access", ""),
    Question("access", "a b c"),
]
BYTES = b"".join(answer(f"{question.map_name} {question.key}") for question in QUESTIONS)


def test_questions_one_by_one_all_at_once_and_byte_by_byte() -> None:
    assert list(QuestionReader().feed(BYTES)) == QUESTIONS
    reader = QuestionReader()
    found = [question for byte in BYTES for question in reader.feed(bytes([byte]))]
    assert found == QUESTIONS
    assert not reader.is_within
    assert list(reader.feed(b"3:a")) == []
    assert reader.is_within


POLICY = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nhelo_name=a=b\nsender=j\xc3\xbcrgen@x.test\n"
    b"recipient=you@here.test\nempty=\n\n"
)


def test_policy_requests_and_netstrings_take_turns() -> None:
    request = PolicyRequest("you@here.test", "jürgen@x.test")
    assert list(QuestionReader().feed(POLICY + BYTES + POLICY)) == [request, *QUESTIONS, request]
    reader = QuestionReader()
    assert [found for byte in BYTES + POLICY for found in reader.feed(bytes([byte]))] == [*QUESTIONS, request]
    assert not reader.is_within
    null = POLICY.replace(b"j\xc3\xbcrgen@x.test", b"")
    assert list(reader.feed(null)) == [PolicyRequest("you@here.test", "")]
    assert list(reader.feed(b"request=smtpd_access_policy\n\n")) == [PolicyRequest("", "")]


JUNK = [
    pytest.param(b"request=junk\n\n", id="other-request"),
    pytest.param(b"\n\n", id="empty-lines"),
    pytest.param(POLICY[:-1] + b"x" * MAX_POLICY_BYTES, id="policy-without-end"),
    pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="http"),
    pytest.param(b"99999999999:x", id="length-eleven-digits"),
    pytest.param(f"{MAX_REQUEST_BYTES + 1}:".encode(), id="one-too-long"),
    pytest.param(b"00003:a b,", id="zeros"),
    pytest.param(b"-1:,", id="negative"),
    pytest.param(b":a b,", id="no-length"),
    pytest.param(b"3:a b;", id="no-comma"),
    pytest.param(b"3:abc,", id="no-space"),
    pytest.param(b"2: b,", id="no-map"),
    pytest.param(b"0:,", id="empty"),
    pytest.param(b"3:a \xff,", id="no-utf8"),
    pytest.param(b"\x00" * 5000, id="nul"),
    pytest.param("٣:a b,".encode(), id="other-digits"),
    pytest.param(b"+3:a b,", id="sign"),
    pytest.param(b"12345", id="no-colon-in-time"),
]


@pytest.mark.parametrize("data", JUNK)
def test_junk_is_refused(data: bytes) -> None:
    with pytest.raises(SyntaxFault):
        list(QuestionReader().feed(data))
    reader = QuestionReader()
    with pytest.raises(SyntaxFault):
        for byte in data:
            list(reader.feed(bytes([byte])))


def test_the_longest_question_is_read() -> None:
    key = "x" * (MAX_REQUEST_BYTES - len("access "))
    assert list(QuestionReader().feed(answer(f"access {key}"))) == [Question("access", key)]


@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from([b"3:a b,", b"3", b":", b",", b"12:", b"a ", b"request=smtpd_access_policy\n", b"\n"])
    ).map(b"".join)
)
@settings(max_examples=400, deadline=None)
def test_any_input_is_read_or_refused_however_it_is_cut(data: bytes) -> None:
    def read(pieces: list[bytes]) -> tuple[list[Question | PolicyRequest], bool]:
        reader, found = QuestionReader(), []
        try:
            for piece in pieces:
                found.extend(reader.feed(piece))  # what came before the fault was yielded
        except SyntaxFault:
            return found, True
        return found, False

    whole, bytewise = read([data] if data else []), read([bytes([byte]) for byte in data])
    assert whole[1] == bytewise[1]
    assert len(whole[0]) <= len(bytewise[0])


def held_bytes(announced: bytes, piece: bytes = b"x" * 1000) -> int:
    """How much memory a reader takes for what is only announced and then trickles in."""
    reader = QuestionReader()
    tracemalloc.start()
    try:
        for each in (announced, *[piece] * 1000):
            list(reader.feed(each))
    except SyntaxFault:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_length_is_looked_at_before_memory_is_taken() -> None:
    """Attack N5."""
    assert held_bytes(b"999999999:") < 100_000
    assert held_bytes(POLICY[:-1], b"name=value\n" * 100) < 200_000


def test_a_reader_without_a_limit_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    monkeypatch.setattr(wire, "MAX_REQUEST_BYTES", 1 << 40)
    monkeypatch.setattr(wire, "_MAX_DIGITS", 13)
    with pytest.raises(AssertionError):
        test_a_length_is_looked_at_before_memory_is_taken()
