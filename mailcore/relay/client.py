"""SMTP from the client's side (RFC 5321 §3, §4): one session with one server.

Our own, for smtplib knows neither pipelining nor parameters for each recipient, and reads replies without a limit of
total time. Time limits are those of RFC 5321 §4.5.3.2.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mailcore.model.outbound import Answer, Notify, ReturnContent
from mailcore.model.secret import Secret
from mailcore.relay.channel import Channel, RemoteLost
from mailcore.smtp.wire.content import wire_content, wire_size
from mailcore.smtp.wire.replies import Reply

GREETING_S: Final = 300.0
COMMAND_S: Final = 300.0
DATA_S: Final = 120.0
BLOCK_S: Final = 180.0
FINAL_S: Final = 600.0
RESET_S: Final = 20.0
"""A connection that was just used and does not answer is given up for a new one."""
QUIT_S: Final = 5.0
"""Nobody waits for the answer to QUIT: the message is taken over already."""
BATCH: Final = 100
"""Recipients of one transaction; servers must take so many (RFC 5321 §4.5.3.1.8)."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ADDRESS_TYPE: Final = re.compile(r"[A-Za-z0-9-]{1,32}")
_XTEXT_PLAIN: Final = frozenset(map(chr, range(0x21, 0x7F))) - {"+", "="}


@dataclass(frozen=True, slots=True)
class Forward:
    """A recipient as RCPT names it."""

    path: str
    notify: frozenset[Notify] | None = None
    original_recipient: str | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """A message and what MAIL says of it; `read` may be called again for another try."""

    reverse_path: str
    read: Callable[[], Iterable[bytes]]
    size_bytes: int
    has_8bit: bool
    needs_utf8: bool
    return_content: ReturnContent | None = None
    envelope_id: str | None = None


class Refused(Exception):
    """The server answered no to something that concerns the whole session or transaction."""

    def __init__(self, reply: Reply, stage: str) -> None:
        super().__init__(f"{stage}: {reply.code}")
        self.reply = reply
        self.stage = stage


class OutcomeUnknown(RemoteLost):
    """The whole message was sent and no answer came: it may have been taken over.

    `answers` are those of the recipients that were refused before, None for the others.
    """

    def __init__(self, why: str, answers: Sequence[Answer | None]) -> None:
        super().__init__(why)
        self.answers = answers


class SmtpClient:
    """One session."""

    def __init__(self, channel: Channel, hostname: str) -> None:
        """Speak over `channel` as `hostname`."""
        self._channel = channel
        self._hostname = hostname
        self.extensions: Mapping[str, str] = {}

    @property
    def remote(self) -> str:
        """Who is at the other end, for logs and reports."""
        return self._channel.remote

    # -- session ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Read the greeting and introduce ourselves.

        Raises:
            Refused: not to us, or not now.
            RemoteLost: no answer.
        """
        greeting = self._channel.reply(GREETING_S)
        if greeting.code != 220:
            raise Refused(greeting, "greeting")
        self.hello()

    def hello(self) -> None:
        """Say EHLO, or HELO to a server of old (RFC 5321 §3.2)."""
        reply = self._ask(f"EHLO {self._hostname}", COMMAND_S)
        if reply.code == 250:
            words = [line.partition(" ") for line in reply.lines[1:]]
            self.extensions = {keyword.upper(): rest for keyword, _, rest in words}
            return
        self.extensions = {}
        reply = self._ask(f"HELO {self._hostname}", COMMAND_S)
        if reply.code != 250:
            raise Refused(reply, "EHLO")

    def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """Encrypt and introduce ourselves again; what was said in clear is forgotten (RFC 3207 §4.2).

        Raises:
            Refused: the server does not want to now.
            TlsFailed: no handshake.
        """
        reply = self._ask("STARTTLS", COMMAND_S)
        if reply.code != 220:
            raise Refused(reply, "STARTTLS")
        self._channel.start_tls(context, name, COMMAND_S)
        self.hello()

    def log_in(self, username: str, password: Secret) -> None:
        """AUTH PLAIN, or LOGIN where that is all there is (RFC 4954).

        Raises:
            Refused: wrong, or no mechanism that we know.
        """
        offered = self.extensions.get("AUTH", "").upper().split()
        if "LOGIN" in offered and "PLAIN" not in offered:
            reply = self._ask("AUTH LOGIN", COMMAND_S)
            for step in (username.encode(), password.reveal()):
                if reply.code == 334:
                    reply = self._ask(base64.b64encode(step).decode("ascii"), COMMAND_S)
        else:
            response = base64.b64encode(b"\0" + username.encode() + b"\0" + password.reveal())
            reply = self._ask(f"AUTH PLAIN {response.decode('ascii')}", COMMAND_S)
        if reply.code != 235:
            raise Refused(reply, "AUTH")

    def reset(self) -> None:
        """Begin afresh in a session that carried a message before (RFC 5321 §4.1.1.5).

        Raises:
            Refused: the server wants no more over this connection.
            RemoteLost: it is closed, or does not answer at once.
        """
        reply = self._ask("RSET", RESET_S)
        if reply.code != 250:
            raise Refused(reply, "RSET")

    def quit(self) -> None:
        """Say goodbye and close."""
        try:
            self._ask("QUIT", QUIT_S)
        except RemoteLost:
            pass
        self._channel.close()

    # -- transactions -----------------------------------------------------------------------

    def send(self, mail: Mail, forwards: Sequence[Forward]) -> list[Answer]:
        """Carry out one transaction and return what became of each recipient, in order.

        Raises:
            Refused: MAIL was, or the session ends by 421.
            RemoteLost: the connection broke before the message was complete.
            OutcomeUnknown: it broke, or nothing came, when it was.
        """
        missing = self._missing(mail)
        if missing is not None:
            return [missing] * len(forwards)
        replies = self._envelope(mail, forwards)
        answers = [self._answer(reply, "5.1.0" if reply.code >= 500 else "4.2.0") for reply in replies]
        accepted = [number for number, reply in enumerate(replies) if reply.code // 100 == 2]
        if not accepted:
            self._reset()
            return answers
        reply = self._ask("DATA", DATA_S)
        if reply.code != 354:
            if reply.code == 421:
                raise Refused(reply, "DATA")
            final = self._answer(reply, "5.6.0" if reply.code >= 500 else "4.3.0")
            self._reset()
        else:
            self._channel.send_pieces(wire_content(mail.read()), BLOCK_S)
            try:
                reply = self._channel.reply(FINAL_S)
            except RemoteLost as error:
                refused = [None if number in accepted else answer for number, answer in enumerate(answers)]
                raise OutcomeUnknown(str(error), refused) from error
            fallback = "2.0.0" if reply.code // 100 == 2 else "5.6.0" if reply.code >= 500 else "4.3.0"
            final = self._answer(reply, fallback)
        for number in accepted:
            answers[number] = final
        return answers

    def _envelope(self, mail: Mail, forwards: Sequence[Forward]) -> list[Reply]:
        """MAIL and each RCPT, in one piece where the server can take it (RFC 2920)."""
        commands = [self._mail_command(mail), *(self._rcpt_command(forward) for forward in forwards)]
        if "PIPELINING" in self.extensions:
            self._say(commands)
            replies = [self._channel.reply(COMMAND_S) for _ in commands]
            self._check_mail(replies[0])
        else:
            replies = [self._ask(commands[0], COMMAND_S)]
            self._check_mail(replies[0])
            replies += [self._ask(command, COMMAND_S) for command in commands[1:]]
        for reply in replies[1:]:
            if reply.code == 421:
                raise Refused(reply, "RCPT")
        return replies[1:]

    def _check_mail(self, reply: Reply) -> None:
        if reply.code // 100 != 2:
            raise Refused(reply, "MAIL")

    def _mail_command(self, mail: Mail) -> str:
        words = [f"MAIL FROM:<{mail.reverse_path}>"]
        if "SIZE" in self.extensions:
            words.append(f"SIZE={wire_size(mail.size_bytes)}")
        if mail.has_8bit and "8BITMIME" in self.extensions:
            words.append("BODY=8BITMIME")
        if mail.needs_utf8:
            words.append("SMTPUTF8")
        if "DSN" in self.extensions:
            if mail.return_content is not None:
                words.append(f"RET={mail.return_content.value.upper()}")
            if mail.envelope_id:
                words.append(f"ENVID={encode_xtext(mail.envelope_id)}")
        return " ".join(words)

    def _rcpt_command(self, forward: Forward) -> str:
        words = [f"RCPT TO:<{forward.path}>"]
        if "DSN" in self.extensions:
            if forward.notify is not None:
                words.append("NOTIFY=" + (",".join(sorted(each.value.upper() for each in forward.notify)) or "NEVER"))
            if forward.original_recipient is not None:
                kind, _, address = forward.original_recipient.partition(";")
                if address.isascii() and _ADDRESS_TYPE.fullmatch(kind):
                    words.append(f"ORCPT={kind};{encode_xtext(address)}")
        return " ".join(words)

    def _missing(self, mail: Mail) -> Answer | None:
        """Return why this server cannot take the message at all (RFC 6531 §3.2, RFC 6152 §3, RFC 1870 §6.1)."""
        if mail.needs_utf8 and "SMTPUTF8" not in self.extensions:
            return Answer(0, "5.6.7", "The server takes no addresses or headers beyond ASCII", self._channel.remote)
        if mail.has_8bit and "8BITMIME" not in self.extensions:
            return Answer(0, "5.6.3", "The server does not take 8-bit content", self._channel.remote)
        most = self.extensions.get("SIZE", "")
        if most.isdecimal() and 0 < int(most) < mail.size_bytes:
            return Answer(0, "5.3.4", f"The server takes messages of up to {int(most)} bytes", self._channel.remote)
        return None

    # -- parts ------------------------------------------------------------------------------

    def _answer(self, reply: Reply, fallback: str) -> Answer:
        text = " ".join(filter(None, reply.lines))[:500]
        return Answer(reply.code, reply.enhanced or fallback, text, self._channel.remote)

    def _reset(self) -> None:
        try:
            self._ask("RSET", COMMAND_S)
        except RemoteLost:
            pass  # what was answered before counts all the same

    def _ask(self, command: str, timeout_s: float) -> Reply:
        self._say([command])
        return self._channel.reply(timeout_s)

    def _say(self, commands: Sequence[str]) -> None:
        for command in commands:
            assert _CONTROL.search(command) is None, "a command is one line: the queue takes no control characters"
        self._channel.send("".join(f"{command}\r\n" for command in commands).encode("utf-8"), COMMAND_S)


def encode_xtext(text: str) -> str:
    """Return `text` as xtext (RFC 3461 §4)."""
    return "".join(
        character if character in _XTEXT_PLAIN else "".join(f"+{octet:02X}" for octet in character.encode("utf-8"))
        for character in text
    )
