"""ManageSieve dialogues; lines are written as for IMAP."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass

from mailcore.managesieve.connection import ManageSieveConnection
from mailcore.model.actions import Peer, SetDeadline
from mailcore.services import MailServices
from tests.transcripts.imap import dialogue
from tests.transcripts.imap.dialogue import TLS, Imap


def plain(user: str, password: str, as_user: str = "") -> str:
    """What PLAIN sends."""
    return b64encode(f"{as_user}\0{user}\0{password}".encode()).decode()


def literal(text: str | bytes) -> str:
    """A string of octets as clients send it, for a transcript's line."""
    octets = text.encode() if isinstance(text, str) else text
    return f"{{{len(octets)}+}}\r\n{octets.decode('utf-8')}"


class Client(dialogue.Client):
    """One connection and what it has said that nobody has looked at."""

    def __init__(
        self, services: MailServices, *, tls: bool = False, local: bool = True, offers_starttls: bool = False
    ) -> None:
        self.output = b""
        self.sent_sizes: list[int] = []
        self.deadlines: list[SetDeadline] = []
        self.is_closed = False
        self.wants_tls = False
        self.is_woken = False
        self.connection = ManageSieveConnection(  # type: ignore[assignment]
            services,
            Peer("192.0.2.1", 4711, TLS if tls else None, "test"),
            self._wake,
            plaintext_allowed=local,
            offers_starttls=offers_starttls,
        )
        self._perform(self.connection.greeting())
        self.greeting = self.take()

    def run(self, command: str) -> bytes:
        """Carry out one command, which must succeed; return all that came."""
        answer = self.ask(command.encode() + b"\r\n")
        assert answer.rpartition(b"\r\n")[0].rpartition(b"\r\n")[2].startswith(b"OK"), answer
        return answer


@dataclass
class ManageSieve(Imap):
    """A user's scripts and the sessions that look after them."""

    def connect(self, number: str = "", **arguments: bool) -> Client:  # type: ignore[override]
        """A connection that has heard the greeting."""
        client = Client(self.services, **arguments)
        self.clients[number] = client
        return client

    def sign_in(self, number: str = "", select: str | None = None) -> Client:  # type: ignore[override]
        """A connection that has signed in."""
        client = self.connect(number)
        client.run(f'AUTHENTICATE "PLAIN" "{plain(self.user.address, self.user.password)}"')
        return client
