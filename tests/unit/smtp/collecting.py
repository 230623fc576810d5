"""A policy that keeps what it is given: the port's other side for tests of the protocol alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mailcore.errors import AddressNotFound, MailError
from mailcore.model.actions import Action, Close, Peer, Send, StartTls, Tls
from mailcore.smtp import replies
from mailcore.smtp.connection import SmtpConnection
from mailcore.smtp.transaction import Origin, Transaction
from mailcore.smtp.wire.path import Path
from mailcore.smtp.wire.replies import Reply


@dataclass
class Collecting:
    """Knows the users in `users`, takes everything for them."""

    users: frozenset[str] = frozenset({"a@x.test", "b@x.test", "postmaster"})
    hello_verb: str = "LHLO"
    protocol: str = "LMTP"
    hostname: str = "mx.test"
    software: str = "LMTP"
    message_bytes: int = 10_000
    recipients: int = 5
    extensions: tuple[str, ...] = ()
    refuses_bare_line_ends: bool = False
    failures: dict[str, Exception] = field(default_factory=dict)
    messages: list[bytes] = field(default_factory=list)
    transactions: list[tuple[Path | None, tuple[str, ...], Origin]] = field(default_factory=list)
    is_trusting: bool = True

    def may_transact(self, peer: Peer, tls: Tls | None) -> Reply | None:
        return None

    def may_forward(self, peer: Peer, tls: Tls | None) -> bool:
        return self.is_trusting

    def sender(self, transaction: Transaction[Any], origin: Origin) -> None:
        return None

    def recipient(self, path: Path, transaction: Transaction[Any]) -> str:
        if path.address.lower() in self.failures and path.local_part.startswith("rcpt"):
            raise self.failures[path.address.lower()]
        if path.address.lower() not in self.users and path.address.lower() not in self.failures:
            raise AddressNotFound(path.address)
        return path.address

    def replies_due(self, transaction: Transaction[Any]) -> int:
        return len(transaction.recipients)

    def accept(self, message: bytes, transaction: Transaction[Any], origin: Origin) -> Iterator[Reply]:
        addresses = tuple(accepted.handle for accepted in transaction.recipients)
        self.messages.append(message)
        self.transactions.append((transaction.reverse_path, addresses, origin))
        for address in addresses:
            failure = self.failures.get(address)
            if isinstance(failure, MailError):
                yield replies.reply_for(failure)
            elif failure is not None:
                raise failure
            else:
                yield replies.OK


class Dialogue:
    """Feeds a connection and gathers what it sends."""

    def __init__(self, policy: Collecting | None = None, offers_tls: bool = False, peer: Peer | None = None) -> None:
        self.policy = policy or Collecting()
        self.connection = SmtpConnection(self.policy, peer or Peer("192.0.2.1", 2525, None, "s1"), offers_tls)
        self.is_closed = False
        self.wants_tls = False
        self.take(self.connection.greeting())

    def take(self, actions: Iterable[Action]) -> bytes:
        sent = b""
        for action in actions:
            assert not self.is_closed, "nothing may follow Close"
            if isinstance(action, Send):
                sent += action.data
            elif isinstance(action, Close):
                self.is_closed = True
            elif isinstance(action, StartTls):
                self.wants_tls = True
        return sent

    def say(self, data: bytes) -> bytes:
        return self.take(self.connection.receive(data))

    def say_in_pieces(self, data: bytes, size: int) -> bytes:
        sent = b""
        for start in range(0, len(data), size):
            if self.is_closed:
                break
            sent += self.say(data[start : start + size])
        return sent

    def begin(self, *recipients: str) -> None:
        said = self.say(b"LHLO peer.test\r\nMAIL FROM:<from@y.test>\r\n")
        assert b"\r\n250 2.1.0 " in said, said
        for recipient in recipients or ("a@x.test",):
            assert self.say(f"RCPT TO:<{recipient}>\r\n".encode()).startswith(b"250 2.1.5")


def codes(sent: bytes) -> list[str]:
    """Return code and enhanced code of each reply (last lines only)."""
    return [" ".join(line.split(" ")[:2]) for line in sent.decode().split("\r\n") if line and line[3:4] == " "]
