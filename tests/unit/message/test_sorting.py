"""Base subjects and first addresses (RFC 5256 §2.1, RFC 5957)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.message.sorting import SUBJECT_CHARACTERS, base_subject, sort_and_thread_fields


@pytest.mark.parametrize(
    ("subject", "base", "is_answer"),
    [
        ("blah", "blah", False),
        ("Re: blah", "blah", True),
        ("RE : Fw:  FWD:blah", "blah", True),
        ("[list] blah", "blah", False),
        ("[list] Re: [list] blah", "blah", True),
        ("Re[2]: blah", "blah", True),
        ("Re [x] [y]: blah", "Re [x] [y]: blah", False),
        ("[a][b]", "[b]", False),
        ("[only]", "[only]", False),
        ("blah (fwd)", "blah", True),
        ("blah (fwd) (FWD) ", "blah", True),
        ("[fwd: Re: blah]", "blah", True),
        ("[Fwd: [fwd: blah (fwd)]]", "blah", True),
        ("Re: ", "", True),
        ("", "", False),
        ("Reply: x", "Reply: x", False),
        ("a\t b\r\n c", "a b c", False),
        ("(fwd", "(fwd", False),
    ],
)
def test_base_subjects(subject: str, base: str, is_answer: bool) -> None:
    assert base_subject(subject) == (base, is_answer)


@given(st.text(alphabet="[]() :aRrEeFfWwDd\t", max_size=200))
def test_a_base_subject_is_its_own(subject: str) -> None:
    base, _ = base_subject(subject)
    assert base_subject(base)[0] == base
    assert base in " ".join(subject.split()) + " " or not base


def test_hostile_subjects_end() -> None:
    for subject in ("[a] " * 50_000, "re:" * 50_000, "(fwd)" * 50_000 + "x", "[fwd:" * 50_000 + "]" * 50_000):
        assert len(base_subject(subject)[0]) <= SUBJECT_CHARACTERS


def test_fields() -> None:
    fields, thread = sort_and_thread_fields(
        b"Subject: Re: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: =?utf-8?q?Doe=2C_J=C3=BCrgen?= <Zed@b.c>, x@y\r\n"
        b"To: Group: a.b@c, d@e;\r\nCc: plain\r\nMessage-ID: <1@x>\r\nReferences: <a@x>\r\n <b@x>\r\n"
        b"In-Reply-To: <c@x>\r\n\r\n"
    )
    assert fields == ("GRU\u0308SSE", "ZED", "A.B", "PLAIN", "DOE, JU\u0308RGEN", "A.B@C")
    assert thread.is_answer
    assert len(thread.references) == 2
    empty, lone = sort_and_thread_fields(b"")
    assert empty == ("", "", "", "", "", "")
    assert lone == (0, (), False)
    assert sort_and_thread_fields(b"In-Reply-To: <a@x> <b@x>\r\n\r\n")[1].references == thread.references[:1]


@given(st.binary(max_size=300))
def test_no_header_raises_and_no_line_end_stays(header: bytes) -> None:
    fields, _ = sort_and_thread_fields(header)
    assert not any("\n" in field or "\r" in field for field in fields)
