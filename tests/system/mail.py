"""Messages for clients to carry about, and the mailboxes they end in."""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from pathlib import Path

from mailcore.model.flags import FlagSet
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from tests.builders import OPERATOR, MadeUser

KINDS = 6


def message(number: int) -> bytes:
    """One of several kinds: plain, dots, UTF-8, a long line, a part of base64, an attachment that is stored apart."""
    head = (
        f"From: Writer {number} <writer{number}@example.com>\r\nTo: reader@example.org\r\n"
        f"Subject: message {number}\r\nMessage-ID: <{number}@clients.test>\r\n"
        "Date: Wed, 17 Jan 2024 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
    ).encode()
    kind = number % KINDS
    plain = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    if kind == 0:
        return head + plain + b"Text of message %d.\r\n" % number
    if kind == 1:
        return head + plain + b".\r\n..\r\n.begins with a dot\r\n\r\n.\r\n"
    if kind == 2:
        return head + plain + f"Grüße Nr. {number}, 日本語, emoji 🎉\r\n".encode()
    if kind == 3:
        return head + plain + b"x" * 900 + b"\r\nFrom here on\r\n>From there\r\n \r\n"
    size = 3_000 if kind == 4 else 45_000
    data = base64.encodebytes(random.Random(number).randbytes(size)).replace(b"\n", b"\r\n")
    return (
        head
        + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        + plain
        + b"See the attachment of %d.\r\n--b\r\n" % number
        + b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + data
        + b"--b--\r\n"
    )


def messages(first: int, count: int) -> list[bytes]:
    """So many, each another one."""
    return [message(number) for number in range(first, first + count)]


def put(
    services: MailServices, user: MadeUser, raws: Sequence[bytes], mailbox: str = "INBOX", flags: FlagSet | None = None
) -> None:
    """Store messages by the service, a hundred at a time."""
    for start in range(0, len(raws), 100):
        new = [NewMessage(raw, flags or FlagSet()) for raw in raws[start : start + 100]]
        services.messages.append(user.user_id, OPERATOR, mailbox, new)


def found(services: MailServices, user: MadeUser, mailbox: str = "INBOX") -> list[bytes]:
    """The messages of a mailbox in order."""
    view = services.mailboxes.open(user.user_id, mailbox)
    oids = [view.message_oid(row) for row in range(view.exists)]
    return [b"".join(content.read()) for content in services.content.open_many(user.user_id, oids)]


def in_maildir(folder: Path) -> list[bytes]:
    """The messages of a Maildir, sorted; those programs write LF."""
    return sorted(path.read_bytes() for path in folder.glob("[cn][ue][rw]/*"))


def with_line_feeds(raws: Sequence[bytes]) -> list[bytes]:
    """As a Maildir holds them, sorted."""
    return sorted(raw.replace(b"\r\n", b"\n") for raw in raws)
