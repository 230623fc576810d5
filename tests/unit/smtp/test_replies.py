"""The table from error to reply; replies as bytes."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime, timedelta

import pytest

from mailcore import errors
from mailcore.smtp import replies
from mailcore.smtp.wire.command_line import CommandLine, parse_command_line
from mailcore.smtp.wire.replies import Reply


def leaves(kind: type[errors.MailError]) -> list[type[errors.MailError]]:
    children = kind.__subclasses__()
    return [leaf for child in children for leaf in leaves(child)] if children else [kind]


LEAVES = [leaf for leaf in leaves(errors.MailError) if leaf.__module__ == "mailcore.errors"]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_every_error_has_a_reply(leaf: type[errors.MailError]) -> None:
    reply = replies.reply_for(leaf("detail\r\n250 injected"))
    assert reply is not replies.INTERNAL_FAULT
    assert b"injected" not in reply.to_wire()
    if issubclass(leaf, errors.Unavailable):
        assert 400 <= reply.code < 500, "temporary trouble is 4xx (promise P12)"


def test_an_error_without_a_row_would_be_noticed() -> None:
    """Negative control of the test above."""

    class Unheard(errors.MailError):
        pass

    assert replies.reply_for(Unheard()) is replies.INTERNAL_FAULT


def test_temporary_trouble_refused_for_good_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of P12."""
    monkeypatch.setitem(replies.ERROR_REPLIES, errors.StoreUnavailable, Reply.of(554, "5.3.0", "Away"))
    with pytest.raises(AssertionError, match="temporary trouble"):
        test_every_error_has_a_reply(errors.StoreUnavailable)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.AddressNotFound(), "550 5.1.1"),
        (errors.UserDisabled(), "550 5.2.1"),
        (errors.OverQuota(), "452 4.2.2"),
        (errors.StoreUnavailable(), "451 4.3.0"),
        (errors.StoreFull(), "452 4.3.1"),
        (errors.MessageTooLarge(), "552 5.3.4"),
    ],
)
def test_replies_that_senders_act_upon(error: errors.MailError, expected: str) -> None:
    reply = replies.reply_for(error)
    assert f"{reply.code} {reply.enhanced}" == expected


def test_over_quota_is_temporary_for_a_day() -> None:
    since = datetime(2026, 3, 1, 12, tzinfo=UTC)
    error = errors.OverQuota(since=since)
    assert replies.reply_for(error, since + timedelta(hours=24)).code == 452
    later = replies.reply_for(error, since + timedelta(hours=24, seconds=1))
    assert (later.code, later.enhanced) == (552, "5.2.2")


def test_code_and_enhanced_code_agree() -> None:
    """RFC 2034 §4: the classes are the same; 3yz and greetings have none."""
    constants = [value for _, value in inspect.getmembers(replies) if isinstance(value, Reply)]
    for reply in [*constants, *replies.ERROR_REPLIES.values()]:
        if reply.enhanced:
            assert reply.enhanced[0] == str(reply.code)[0]
            assert re.fullmatch(r"[245]\.\d\.\d{1,2}", reply.enhanced)
        else:
            assert reply.code == 354


def test_several_lines() -> None:
    assert Reply.of(250, "2.1.5", "one", "two").to_wire() == b"250-2.1.5 one\r\n250 2.1.5 two\r\n"
    assert Reply.of(250, "", "mx.test").to_wire() == b"250 mx.test\r\n"


def test_command_lines() -> None:
    assert parse_command_line(b"noop") == CommandLine("NOOP", b"")
    assert parse_command_line(b"Mail  FROM:<> \t") == CommandLine("MAIL", b"FROM:<>")
    for bad in (b"", b" NOOP", b"MAIL\x00 x", b"NO\rOP", b"a-b", b"\xff", b"x" * 17):
        with pytest.raises(errors.SyntaxFault):
            parse_command_line(bad)


@pytest.mark.parametrize(
    ("reason", "wire"),
    [
        pytest.param("Not me.\r\nAsk Bob", b"550-5.7.1 Not me.\r\n550 5.7.1 Ask Bob\r\n", id="lines"),
        pytest.param("a\x00b\x7f\tc\r250 ok", b"550-5.7.1 ab c\r\n550 5.7.1 250 ok\r\n", id="controls"),
        pytest.param("nein, für niemanden", b"550 5.7.1 The recipient refuses this message\r\n", id="beyond-ascii"),
        pytest.param("", b"550 5.7.1 The recipient refuses this message\r\n", id="nothing"),
    ],
)
def test_words_of_a_recipient_who_refuses_are_told_as_lines_of_one_reply(reason: str, wire: bytes) -> None:
    """RFC 5429 §2.1.2; nothing in them ends the reply (attack M8)."""
    assert replies.reply_for(errors.MessageRejected("detail", reason=reason)).to_wire() == wire


def test_words_without_end_are_cut() -> None:
    wire = replies.reply_for(errors.MessageRejected(reason="x" * 5000 + "\n" + "y\n" * 100)).to_wire()
    assert len(wire) < 1000
    assert wire.count(b"\r\n") == replies.REFUSAL_LINES
