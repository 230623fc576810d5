"""Dialogues with sans-IO connections: `C:` goes in, `S:` must come out, nothing may be left over."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from mailcore.imap.connection import ImapConnection
from mailcore.model.actions import Action, Close, Peer, Rest, Send, SetDeadline, StartCompression, StartTls, Tls
from mailcore.model.flags import FlagSet
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from tests.builders import OPERATOR, MadeUser

_LINE = re.compile(r"(C|S)(\d?): ?(.*)")
_PLACE = re.compile(r"«(\w+)»|(…)")
TLS = Tls("TLSv1.3", "TLS_AES_128_GCM_SHA256")


class Client:
    """One connection and what it has said that nobody has looked at."""

    def __init__(
        self, services: MailServices, *, tls: bool = False, local: bool = True, offers_starttls: bool = False
    ) -> None:
        self.output = b""
        self.sent_sizes: list[int] = []
        self.deadlines: list[SetDeadline] = []
        self.others: list[Action] = []
        """What a pump would do about compression."""
        self.is_closed = False
        self.wants_tls = False
        self.is_woken = False
        self.connection = ImapConnection(
            services,
            Peer("192.0.2.1", 4711, TLS if tls else None, "test"),
            self._wake,
            plaintext_allowed=local,
            offers_starttls=offers_starttls,
        )
        self._perform(self.connection.greeting())
        self.greeting = self.take()

    def _wake(self) -> None:
        self.is_woken = True

    def send(self, data: bytes) -> bytes:
        """Put bytes in; return everything that has come out and was not taken."""
        if not self.is_closed:
            self._perform(self.connection.receive(data))
        return self.output

    def take(self) -> bytes:
        """What has come out; looked at now."""
        output, self.output = self.output, b""
        return output

    def ask(self, data: bytes) -> bytes:
        """Put bytes in; return what they made come out."""
        self.take()
        self.send(data)
        return self.take()

    def run(self, command: str) -> bytes:
        """Carry out one command, which must succeed."""
        answer = self.ask(b"t " + command.encode() + b"\r\n")
        assert b"t OK" in answer, answer
        return answer

    def notice(self) -> None:
        """Let the connection look if it was woken."""
        if self.is_woken and not self.is_closed:
            self.is_woken = False
            self._perform(self.connection.wake())

    def time_out(self) -> bytes:
        """Let the deadline pass."""
        self._perform(self.connection.timeout())
        return self.take()

    def drain(self) -> bytes:
        """Let the process end."""
        self._perform(self.connection.drain())
        return self.take()

    def start_tls(self) -> None:
        """Do as if the handshake had succeeded."""
        assert self.wants_tls
        self._perform(self.connection.tls_started(TLS))

    def close(self) -> None:
        """The socket is gone."""
        self.is_closed = True
        self.connection.eof()

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            assert not self.is_closed, f"{action} after closing"
            if isinstance(action, Send):
                self.output += action.data
                self.sent_sizes.append(len(action.data))
            elif isinstance(action, SetDeadline):
                self.deadlines.append(action)
            elif isinstance(action, StartTls):
                self.wants_tls = True
            elif isinstance(action, StartCompression | Rest):
                self.others.append(action)
            elif isinstance(action, Close):
                self.is_closed = True


@dataclass
class Imap:
    """A user's mail and the sessions that look at it."""

    services: MailServices
    user: MadeUser
    clients: dict[str, Client] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """What `«name»` stood for."""

    def connect(self, number: str = "", **arguments: bool) -> Client:
        """A connection that has heard the greeting."""
        self.clients[number] = Client(self.services, **arguments)
        return self.clients[number]

    def sign_in(self, number: str = "", select: str | None = None) -> Client:
        """A connection that has signed in, and selected."""
        client = self.connect(number)
        client.run(f'LOGIN {self.user.address} "{self.user.password}"')
        if select is not None:
            client.run(f'SELECT "{select}"')
        return client

    def append(self, *messages: bytes | NewMessage, mailbox: str = "INBOX") -> UidSet:
        """Store messages by the service."""
        new = [message if isinstance(message, NewMessage) else NewMessage(message) for message in messages]
        result = self.services.messages.append(self.user.user_id, OPERATOR, mailbox, new)
        uids: UidSet = result.uids
        return uids

    def fill(self, count: int, deleted: frozenset[int] | set[int] = frozenset(), mailbox: str = "INBOX") -> None:
        """Store small messages; those numbered in `deleted` have the flag."""
        self.append(
            *(
                NewMessage(
                    b"From: a@example.com\r\nSubject: number %d\r\n\r\nText %d\r\n" % (number, number),
                    FlagSet(8 if number in deleted else 0),
                    1_700_000_000 + number,
                )
                for number in range(1, count + 1)
            ),
            mailbox=mailbox,
        )

    def select_in_two_sessions(self, mailbox: str, messages: int, deleted: set[int] = set()) -> None:  # noqa: B006
        """Sessions 1 and 2 with the same messages."""
        self.fill(messages, deleted, mailbox)
        self.sign_in("1", mailbox)
        self.sign_in("2", mailbox)

    def transcript(self, text: str) -> None:
        r"""Play a dialogue.

        `C1:` and `S1:` are session 1. In an `S:` line `…` is anything and `«name»` a word to be
        remembered; `«name»` stands for it from then on. Lines of each session are in order.
        """
        for line in text.strip("\n").splitlines():
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            assert match, f"not a line of a dialogue: {line}"
            side, number, words = match.groups()
            client = self.clients[number]
            if side == "C":
                assert not client.output, f"left over before {line!r}: {client.output!r}"
                client.send(self._filled(words).encode() + b"\r\n")
                for other in self.clients.values():
                    other.notice()
            else:
                self._expect(client, words)
        for number, client in self.clients.items():
            assert not client.output, f"left over in session {number or '-'}: {client.output!r}"

    def _filled(self, words: str) -> str:
        return _PLACE.sub(lambda place: self.names[place[1]] if place[1] else place[0], words)

    def _expect(self, client: Client, words: str) -> None:
        assert client.output, f"nothing came out, expected {words!r}"
        line, separator, client.output = client.output.partition(b"\r\n")
        assert separator, f"half a line: {line!r}"
        pattern = ""
        position = 0
        for place in _PLACE.finditer(words):
            pattern += re.escape(words[position : place.start()])
            name = place[1]
            if name is None:
                pattern += ".*"
            elif name in self.names:
                pattern += re.escape(self.names[name])
            else:
                pattern += f"(?P<{name}>[^ )\\]]+)"
            position = place.end()
        pattern += re.escape(words[position:])
        found = re.fullmatch(pattern, line.decode("utf-8", "backslashreplace"))
        assert found, f"expected {words!r}, got {line!r} then {client.output!r}"
        self.names.update(found.groupdict())
