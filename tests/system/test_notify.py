"""NOTIFY (RFC 5465) at the real server: a client that says nothing is told, by notices of another process."""

from __future__ import annotations

import time

import pytest

from mailcore.imap.notifications import APART_S
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from tests.builders import OPERATOR, MadeUser
from tests.system.servers import RunningServer
from tests.system.strict_imap import Response, StrictImap

MESSAGE = NewMessage(b"Subject: new\r\n\r\ntext\r\n")
TOLD_WITHIN_S = 40.0
"""By a notice at once, or by the poll where the first came before Redis had the subscription."""


def told_until(client: StrictImap, kind: bytes, value: object) -> list[Response]:
    """What a silent client is told, up to this."""
    found: list[Response] = []
    ends_at = time.monotonic() + TOLD_WITHIN_S
    while not found or (found[-1].kind, found[-1].value) != (kind, value):
        assert client.waits(max(ends_at - time.monotonic(), 0)), found
        found.append(client.read())
    return found


@pytest.mark.timeout(180)
def test_a_silent_client_is_told(mail_server: RunningServer, services: MailServices, user: MadeUser) -> None:
    with StrictImap.signed_in(mail_server.port("imap"), user, "INBOX") as client:
        client.ok(
            b"NOTIFY SET (selected (MessageNew (UID) MessageExpunge))"
            b" (personal (MessageNew MessageExpunge MailboxName))"
        )
        services.messages.append(user.user_id, OPERATOR, "INBOX", [MESSAGE])
        told = told_until(client, b"FETCH", {b"UID": 1})
        assert [(each.kind, each.number) for each in told] == [(b"EXISTS", 1), (b"FETCH", 1)]
        services.mailboxes.create(user.user_id, OPERATOR, "Lists")
        told_until(client, b"LIST", ((b"\\HasNoChildren",), b"Lists"))
        validity = services.mailboxes.find(user.user_id, "Lists").uid_validity
        begun = time.monotonic()
        for _ in range(10):
            services.messages.append(user.user_id, OPERATOR, "Lists", [MESSAGE])
        last = (b"Lists", {b"UIDVALIDITY": validity, b"UIDNEXT": 11, b"MESSAGES": 10})
        told = told_until(client, b"STATUS", last)
        assert len(told) <= (time.monotonic() - begun) / APART_S + 2  # however many there were, one in a second
        client.ok(b"NOOP")
