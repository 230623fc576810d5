"""What a tenant's standing leaves its users by IMAP: mail comes in and is read, and nothing else changes."""

from __future__ import annotations

import pytest

from mailcore.model.flags import FlagSet
from mailcore.model.rights import ALL_RIGHTS
from mailcore.model.tenant import Standing
from mailcore.services.events import audit
from mailcore.services.mailboxes import access, commits
from mailcore.services.mailboxes.messages import NewMessage
from tests.builders import OPERATOR
from tests.transcripts.imap.dialogue import Client, Imap

CHANGES = (
    "STORE 1 +FLAGS (\\Flagged)",
    "COPY 1 Box",
    "MOVE 1 Box",
    "EXPUNGE",
    "CREATE more",
    "DELETE Box",
    "RENAME Box more",
    "UNSUBSCRIBE Box",
    'SETMETADATA INBOX (/private/comment "x")',
)


def _in_standing(imap: Imap, standing: Standing) -> Client:
    client = imap.sign_in()
    client.run("CREATE Box")
    imap.services.messages.append(imap.user.user_id, OPERATOR, "INBOX", [NewMessage(b"Subject: one\r\n\r\n1\r\n")])
    imap.services.tenants.set_standing(OPERATOR, imap.user.tenant_id, standing)
    return client


def _append(client: Client) -> bytes:
    client.ask(b"a APPEND INBOX {3}\r\n")
    return client.ask(b"abc\r\n")


@pytest.mark.parametrize("command", CHANGES)
def test_read_only_changes_nothing(imap: Imap, command: str) -> None:
    client = _in_standing(imap, Standing.READ_ONLY)
    client.run("SELECT INBOX")
    answer = client.ask(b"a " + command.encode() + b"\r\n")
    assert answer.startswith((b"a NO [NOPERM]", b"a NO [READ-ONLY]", b"a NO The mailbox is read-only")), answer


def test_read_only_reads_and_takes_in(imap: Imap) -> None:
    client = _in_standing(imap, Standing.READ_ONLY)
    assert b"[READ-ONLY]" in client.run("SELECT INBOX")
    assert b"one" in client.run("FETCH 1 (BODY[])")
    assert b"\\Seen" not in client.run("FETCH 1 (FLAGS)")
    assert b"NO [NOPERM]" in _append(client)
    imap.services.messages.append(imap.user.user_id, OPERATOR, "INBOX", [NewMessage(b"two", FlagSet())])
    assert b"MESSAGES 2" in client.run("STATUS INBOX (MESSAGES)")


@pytest.mark.parametrize("standing", [Standing.FULL, Standing.NO_SENDING])
def test_other_standings_change_all(imap: Imap, standing: Standing) -> None:
    client = _in_standing(imap, standing)
    assert b"[READ-WRITE]" in client.run("SELECT INBOX")
    client.run("STORE 1 +FLAGS (\\Flagged)")
    client.run("CREATE more")
    assert b"a OK" in _append(client)


def test_it_ends_as_it_began(imap: Imap) -> None:
    client = _in_standing(imap, Standing.READ_ONLY)
    imap.services.tenants.set_standing(OPERATOR, imap.user.tenant_id, Standing.FULL)
    assert b"[READ-WRITE]" in client.run("SELECT INBOX")


def test_doors_that_do_not_look_would_be_seen(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "own_rights", lambda _home, _actor: ALL_RIGHTS)
    monkeypatch.setattr(commits, "check_mail_change", lambda _home, _actor: None)
    monkeypatch.setattr(audit, "check_change", lambda _home, _actor, _kind: None)
    client = _in_standing(imap, Standing.READ_ONLY)
    client.run("CREATE more")
    assert b"a OK" in _append(client)


def test_closed_lets_nobody_in_and_mail_still_arrives(imap: Imap) -> None:
    _in_standing(imap, Standing.CLOSED)
    answer = Client(imap.services).ask(f'a LOGIN {imap.user.address} "{imap.user.password}"\r\n'.encode())
    assert answer.startswith(b"a NO "), answer
    imap.services.messages.append(imap.user.user_id, OPERATOR, "INBOX", [NewMessage(b"two", FlagSet())])
    imap.services.tenants.set_standing(OPERATOR, imap.user.tenant_id, Standing.FULL)
    assert b"MESSAGES 2" in imap.sign_in("2").run("STATUS INBOX (MESSAGES)")
