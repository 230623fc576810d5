"""What nothing answers by itself (RFC 3834 §2, RFC 5230 §4.6)."""

from __future__ import annotations

import pytest

from mailcore.message.automatic import forbids_answers, is_machine, named_recipients

PLAIN = b"From: a@b.test\r\nTo: me@here.test\r\nSubject: Auto-Submitted: auto-replied\r\n"


@pytest.mark.parametrize(
    ("field", "why"),
    [
        (b"Auto-Submitted: auto-replied", "Auto-Submitted"),
        (b"auto-submitted: Auto-Generated; owner-email=x", "Auto-Submitted"),
        (b"Auto-Submitted:\r\n auto-notified", "Auto-Submitted"),
        (b"Auto-Submitted: ", "Auto-Submitted"),
        (b"Auto-Submitted: no", None),
        (b"Auto-Submitted: No; comment=x", None),
        (b"Precedence: bulk", "Precedence"),
        (b"Precedence: LIST", "Precedence"),
        (b"Precedence: junk ", "Precedence"),
        (b"Precedence: first-class", None),
        (b"X-Auto-Response-Suppress: DR, OOF, AutoReply", "X-Auto-Response-Suppress"),
        (b"X-Auto-Response-Suppress: All", "X-Auto-Response-Suppress"),
        (b"X-Auto-Response-Suppress: None", None),
        (b"X-Auto-Response-Suppress: DR, RN", None),
        (b"List-Id: <l.example.org>", "List-Id"),
        (b"LIST-UNSUBSCRIBE: <mailto:x@y.test>", "List-Id"),
        (b"List-Post : <mailto:x@y.test>", "List-Id"),
        (b"Content-Type: multipart/report; report-type=delivery-status", "Content-Type"),
        (b"Content-Type: multipart/mixed", None),
        (b"X-List-Of-Things: yes", None),
        (b"Comment: x\r\n List-Id: folded", None),
    ],
)
def test_fields_that_forbid_answers(field: bytes, why: str | None) -> None:
    assert forbids_answers(PLAIN + field + b"\r\n\r\nList-Id: <body>\r\nPrecedence: bulk\r\n") == why or why is None
    assert forbids_answers(PLAIN + field + b"\r\n\r\n") == why
    assert forbids_answers(field + b"\r\n" + PLAIN + b"\r\n") == why


@pytest.mark.parametrize(
    ("reverse_path", "expected"),
    [
        ("", True),
        ("MAILER-DAEMON@x.test", True),
        ("owner-list@x.test", True),
        ("list-owner@x.test", True),
        ("list-request@x.test", True),
        ("LISTSERV@x.test", True),
        ("majordomo@x.test", True),
        ("list-bounces+me=here.test@x.test", True),
        ("bounce-17-abc@x.test", True),
        ("noreply@x.test", True),
        ("no-reply+7@x.test", True),
        ("news-no-reply@x.test", True),
        ("ada@x.test", False),
        ("bouncer@x.test", False),
        ("requester@x.test", False),
        ("prvs=123abc=ada@x.test", False),
        ("SRS0=aaaa=bb=x.test=ada@y.test", False),
    ],
)
def test_reverse_paths_behind_which_nobody_reads(reverse_path: str, expected: bool) -> None:
    assert is_machine(reverse_path) is expected


def test_recipients_of_every_field_are_named() -> None:
    header = (
        b"To: One <one@x.test>, undisclosed:;\r\nCC: two@x.test\r\nTo: three@x.test\r\n"
        b"Resent-To: four@x.test\r\nBcc: five@x.test\r\nReply-To: six@x.test\r\n\r\n"
    )
    assert list(named_recipients(header)) == ["one@x.test", "three@x.test", "two@x.test", "five@x.test", "four@x.test"]
