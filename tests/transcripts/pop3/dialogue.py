"""POP3 dialogues; lines are written as for IMAP."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.model.actions import Peer, SetDeadline
from mailcore.pop3.connection import Pop3Connection
from mailcore.services import MailServices
from tests.transcripts.imap import dialogue
from tests.transcripts.imap.dialogue import TLS, Imap


class Client(dialogue.Client):
    """One connection and what it has said that nobody has looked at."""

    def __init__(
        self, services: MailServices, *, tls: bool = False, local: bool = True, offers_stls: bool = False
    ) -> None:
        self.output = b""
        self.sent_sizes: list[int] = []
        self.deadlines: list[SetDeadline] = []
        self.is_closed = False
        self.wants_tls = False
        self.is_woken = False
        self.connection = Pop3Connection(  # type: ignore[assignment]
            services,
            Peer("192.0.2.1", 4711, TLS if tls else None, "test"),
            self._wake,
            plaintext_allowed=local,
            offers_stls=offers_stls,
        )
        self._perform(self.connection.greeting())
        self.greeting = self.take()

    def run(self, command: str) -> bytes:
        """Carry out one command, which must succeed; return what stands behind +OK."""
        answer = self.ask(command.encode() + b"\r\n")
        assert answer.startswith(b"+OK"), answer
        return answer

    def lines(self, command: str) -> list[bytes]:
        """Carry out a command with a multi-line response; return its lines, unstuffed."""
        first, *lines = self.run(command).split(b"\r\n")
        assert lines[-2:] == [b".", b""], lines[-3:]
        assert first.startswith(b"+OK")
        return [line.removeprefix(b".") for line in lines[:-2]]

    def retrieve(self, number: int) -> bytes:
        """A message as a client that reads to the letter has it: without what RETR adds at its end."""
        answer = self.run(f"RETR {number}")
        head, _, rest = answer.partition(b"\r\n")
        size = int(head.split()[1])
        assert rest.endswith(b".\r\n")
        body = rest[:-3]
        unstuffed = body.replace(b"\n..", b"\n.")
        if unstuffed.startswith(b".."):
            unstuffed = unstuffed[1:]
        assert unstuffed[size:] in {b"", b"\r\n"}
        return unstuffed[:size]


@dataclass
class Pop3(Imap):
    """A user's mail and the sessions that look at it."""

    def connect(self, number: str = "", **arguments: bool) -> Client:  # type: ignore[override]
        """A connection that has heard the greeting."""
        client = Client(self.services, **arguments)
        self.clients[number] = client
        return client

    def sign_in(self, number: str = "", select: str | None = None) -> Client:  # type: ignore[override]
        """A connection in TRANSACTION."""
        client = self.connect(number)
        client.run(f"USER {self.user.address}")
        client.run(f"PASS {self.user.password}")
        return client

    def imap(self) -> dialogue.Client:
        """An IMAP session of the same user with the INBOX selected."""
        other = Imap(self.services, self.user)
        client = other.sign_in(select="INBOX")
        self.clients["imap"] = client
        return client
