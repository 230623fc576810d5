"""Databases away: NO [UNAVAILABLE], the session goes on and works again by itself (P12, F6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from infra.devstack.stack import Stack
from tests.builders import make_services, make_user
from tests.transcripts.imap.dialogue import Imap
from tests.waiting import wait_until

UNAVAILABLE = b"NO [UNAVAILABLE] Try again later\r\n"
TEXT = b"Content-Type: text/plain\r\n\r\nhello\r\n"
ATTACHMENT = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"QUJD" * 19_000
MIXED = (
    b"Subject: mixed\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n" + TEXT + b"--b\r\n" + ATTACHMENT + b"\r\n--b--\r\n"
)


@pytest.mark.timeout(240)
def test_commands_fail_cleanly_while_databases_are_away(new_stack: Callable[..., Stack]) -> None:
    stack = new_stack(databases=("main", "a-cold"))
    services = make_services(stack.directory_uri, {"a": stack.shards["a"]})
    try:
        imap = Imap(services, make_user(services, shard="a"))
        imap.append(MIXED, b"Subject: small\r\n\r\nbody\r\n", b"Subject: unread\r\n\r\nbody\r\n")
        client = imap.sign_in(select="INBOX")

        stack.kill("a-cold")
        assert b"hello" in client.ask(b"a FETCH 1 BODY.PEEK[1]\r\n")
        assert client.ask(b"b FETCH 1 BODY.PEEK[]\r\n") == b"b " + UNAVAILABLE
        assert b"body" in client.ask(b"c FETCH 2 BODY.PEEK[]\r\n")
        assert client.ask(b"d FETCH 1 (ENVELOPE BODYSTRUCTURE)\r\n").endswith(b"d OK FETCH completed\r\n")
        stack.restart("a-cold")
        # a set that was away is left alone for some seconds
        wait_until(lambda: MIXED in client.ask(b"e FETCH 1 BODY.PEEK[]\r\n"), seconds=60)

        stack.kill("main")
        for command in ("NOOP", "SELECT INBOX"):
            assert client.ask(f"f {command}\r\n".encode()).endswith(b"f " + UNAVAILABLE), command
        stack.restart("main")
        client.run("SELECT INBOX")
        assert client.run("FETCH 1:* UID").count(b"FETCH (") == 3

        stack.kill("main")
        assert client.ask(b"g FETCH 1:* FLAGS\r\n").endswith(b"g OK FETCH completed\r\n")
        for command in (r"STORE 1 +FLAGS (\Seen)", "FETCH 3 ENVELOPE"):
            assert client.ask(f"h {command}\r\n".encode()) == b"h " + UNAVAILABLE, command
        assert client.ask(b"i APPEND INBOX {14+}\r\nSubject: x\r\n\r\n\r\n") == b"i " + UNAVAILABLE
        stack.restart("main")
        assert b"FLAGS (\\Flagged)" in client.run(r"STORE 1 +FLAGS (\Flagged)")
        assert not client.is_closed
        client.close()
    finally:
        services.close()


@pytest.mark.timeout(240)
def test_literal_that_cannot_be_finished_closes_the_connection(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a literal nothing else would be understood."""
    from mailcore.errors import StoreUnavailable
    from mailcore.services.content.stored_content import Content

    raw = b"Subject: large\r\n\r\n" + b"0123456789abcde\n" * 20_000
    imap.append(raw)
    client = imap.sign_in(select="INBOX")
    whole = Content.read

    def torn(self: Content, start: int = 0, end: int | None = None) -> object:
        data = b"".join(whole(self, start, end))
        yield data[:100_000]
        raise StoreUnavailable("cold")

    monkeypatch.setattr(Content, "read", torn)
    answer = client.ask(b"a FETCH 1 BODY.PEEK[]\r\n")
    assert client.is_closed
    assert answer.startswith(b"* 1 FETCH (BODY[] {%d}\r\n" % len(raw))
    assert len(answer) < len(raw)
    assert b"a NO" not in answer
