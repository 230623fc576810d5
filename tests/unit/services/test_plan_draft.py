"""What several programs want of one message, put together."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailcore.model.flags import FLAGGED, FlagSet
from mailcore.model.mailbox import INBOX, SpecialUse
from mailcore.model.plan import Filing, Forward
from mailcore.services.inbound.plan_draft import Draft
from mailcore.sieve import Environment, MessageView, Transaction, compile_script

NOW = datetime(2026, 11, 25, tzinfo=UTC)
RAW = b"From: a@x.test\r\nTo: b@y.test\r\nSubject: hello\r\n\r\nbody\r\n"
ENVIRONMENT = Environment(now=NOW)


def draft(text: str, *, is_spam: bool = False) -> Draft:
    outcome = compile_script(text).run(MessageView(RAW), Transaction("a@x.test", "b@y.test"), ENVIRONMENT)
    return Draft(is_spam=is_spam, actions=outcome.actions)


JUNK = (SpecialUse.JUNK,)
CASES = [
    pytest.param("", False, [Filing((INBOX,))], id="nothing"),
    pytest.param("", True, [Filing(JUNK)], id="spam"),
    pytest.param('require "fileinto"; fileinto "A";', True, [Filing(("A",))], id="a-script-beats-the-verdict"),
    pytest.param(
        'require ["fileinto","copy"]; fileinto :copy "A"; fileinto :copy "B";',
        False,
        [Filing(("A",)), Filing(("B",)), Filing((INBOX,))],
        id="several",
    ),
    pytest.param("discard;", False, [], id="discard"),
    pytest.param('redirect "c@z.test";', False, [], id="redirect"),
    pytest.param('redirect "c@z.test"; keep;', False, [Filing((INBOX,))], id="redirect-and-keep"),
    pytest.param(
        'require "fileinto"; fileinto "A"; fileinto "A"; fileinto "inbox"; keep;',
        False,
        [Filing(("A",)), Filing((INBOX,))],
        id="each-mailbox-once",
    ),
    pytest.param(
        'require "imap4flags"; keep :flags "\\\\Flagged";', False, [Filing((INBOX,), FlagSet(FLAGGED))], id="flags"
    ),
    pytest.param(
        'require ["fileinto","special-use"]; fileinto :specialuse "\\\\Archive" "Old";',
        False,
        [Filing((SpecialUse.ARCHIVE, "Old"))],
        id="by-its-use",
    ),
    pytest.param(
        'require ["fileinto","mailbox"]; fileinto :create "New";', False, [Filing(("New",), creates=True)], id="create"
    ),
    pytest.param(
        'require "fileinto"; fileinto "../../etc/passwd";', False, [Filing(("../../etc/passwd",))], id="only-a-name"
    ),
]


@pytest.mark.parametrize(("script", "is_spam", "filings"), CASES)
def test_copies(script: str, is_spam: bool, filings: list[Filing]) -> None:
    assert list(draft(script, is_spam=is_spam).filings(keeps=True)) == filings


def test_a_copy_that_is_only_kept_may_be_left_out() -> None:
    made = draft('require ["fileinto","copy"]; fileinto :copy "A";')
    assert made.filings(keeps=False) == (Filing(("A",)),)


def test_who_gets_nothing_is_known() -> None:
    assert not draft("discard;").is_alive
    assert draft('redirect "c@z.test";').is_alive
    assert not draft('require "reject"; reject "no";').is_alive
    assert draft('require "reject"; reject "no";').rejection == "no"


def test_edited_headers_go_with_the_copy() -> None:
    made = draft('require ["editheader","fileinto"]; addheader "X-Seen" "1"; fileinto "A";')
    [filing] = made.filings(keeps=True)
    assert filing.header is not None
    assert filing.header.startswith(b"X-Seen: 1\r\n")
    assert filing.header.endswith(b"\r\n\r\n")


def test_what_fails_is_kept_and_nothing_else_of_it_is_done() -> None:
    """A failing script means keep (RFC 5228 §2.10.6)."""
    made = draft("".join(f'redirect "u{number}@z.test";' for number in range(50)))
    assert (made.filings(keeps=True), made.forwards) == ((Filing((INBOX,)),), [])


def test_replies_say_what_they_are() -> None:
    made = draft(
        'require "vacation"; vacation :days 3 :subject "away" :from "b@y.test" :addresses ["c@y.test"] "text";'
    )
    [reply] = made.replies
    assert (reply.subject, reply.text, reply.every_s, reply.kind) == ("away", "text", 3 * 86400, "vacation")
    assert (reply.from_address, reply.addresses) == ("b@y.test", ("c@y.test",))
    assert made.kept is not None
    mime = draft('require "vacation"; vacation :mime "Content-Type: text/html\r\n\r\n<b>x</b>";').replies[0]
    assert mime.mime.startswith(b"Content-Type: text/html")
    assert mime.text == ""


def test_redirects_carry_the_header_as_it_was_then() -> None:
    made = draft('require "editheader"; redirect "c@z.test"; addheader "X-Late" "1"; redirect "d@z.test";')
    early, late = made.forwards
    assert early == Forward("c@z.test", asks=True)
    assert late.header is not None
    assert late.header.startswith(b"X-Late: 1\r\n")
