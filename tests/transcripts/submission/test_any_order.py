"""Any input, in any order and cut anywhere, is answered by whole replies and never by a crash (attack N12)."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailcore.smtp import replies
from mailcore.smtp.wire.replies import Reply
from tests.builders import MadeUser
from tests.transcripts.submission.conftest import Client, plain

WORDS = [
    "EHLO a.test", "HELO a.test", "AUTH PLAIN {plain}", "AUTH PLAIN", "AUTH LOGIN", "AUTH XOAUTH2 AQ==", "*", "=",
    "{plain}", "AUTH OAUTHBEARER", "MAIL FROM:<{user}>", "MAIL FROM:<>", "MAIL FROM:<{user}> RET=FULL HOLDFOR=5",
    "MAIL", "RCPT TO:<bob@else.test>", "RCPT TO:<bob@else.test> NOTIFY=NEVER ORCPT=rfc822;x", "RCPT TO:<Postmaster>",
    "DATA", "RSET", "BDAT 3 LAST\r\nabc", "BDAT 3\r\nabc", "BDAT 0 LAST", "BDAT x", "Subject: x", "", ".", "NOOP",
    "HELP", "VRFY x", "STARTTLS", "QUIT", "XFORWARD NAME=x", "\0", "\xff", "AUTH " + "x" * 9000,
]  # fmt: skip
REPLY = re.compile(r"(?:\d\d\d-[^\r\n]*\r\n)*(?:[2345]\d\d [^\r\n]*|334 [A-Za-z0-9+/=]*)\r\n")


def run(connect: Callable[..., Client], user: MadeUser, words: list[str], cuts: list[int]) -> None:
    client = connect(user)
    sent = "".join(word.format(plain=plain(user), user=user.address) + "\r\n" for word in words).encode("latin-1")
    edges = sorted({0, len(sent), *(cut % (len(sent) + 1) for cut in cuts)})
    try:
        for start, end in pairwise(edges):
            if end > start and not client.is_closed:
                client.take(client.connection.receive(sent[start:end]))
        text = "".join(f"{line}\r\n" for line in client.unread)
        assert REPLY.sub("", text) == ""
        assert replies.INTERNAL_FAULT.to_wire().decode() not in text
        assert "Traceback" not in text
    finally:
        client.connection.eof()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from(WORDS), max_size=12), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_any_order_of_commands_is_answered(
    connect: Callable[..., Client], common_user: MadeUser, words: list[str], cuts: list[int]
) -> None:
    run(connect, common_user, words, cuts)


def test_a_crash_would_be_seen(
    connect: Callable[..., Client], common_user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: a handler that breaks shows as a fault of ours."""

    def broken(*_: object) -> Reply:
        raise RuntimeError

    monkeypatch.setattr("mailcore.smtp.commands.COMMANDS", {"NOOP": broken})
    with pytest.raises(AssertionError):
        run(connect, common_user, ["NOOP"], [])
