"""A mail exchanger that answers as it is told and keeps what it got, byte for byte as it came over the wire."""

from __future__ import annotations

import socketserver
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 67108864", "DSN", "ENHANCEDSTATUSCODES")


@dataclass(frozen=True, slots=True)
class Taken:
    """One transaction that was answered, however it ended.

    Attributes:
        wire: content as DATA had it, with the final dot; b"" if it did not come to that.
        said: the answer to the content.
    """

    mail: str
    recipients: tuple[str, ...]
    wire: bytes
    said: str
    is_tls: bool
    hello: str
    peer: str
    at: float

    @property
    def message(self) -> bytes:
        """The message: dots undone, without the end."""
        content = b"\r\n" + self.wire.removesuffix(b".\r\n")
        return content.replace(b"\r\n..", b"\r\n.")[2:]

    @property
    def accepted(self) -> bool:
        """Whether it was taken over."""
        return self.said.startswith("2")


Reply = str | None
"""A line, several joined by newlines; None hangs up without a word."""
Answer = Reply | Callable[[str], Reply]


@dataclass(slots=True)
class Behaviour:
    """What it says; a function is given the argument of the command.

    Attributes:
        hangs: verb (or "GREETING", "CONTENT") at which nothing is ever answered.
        tls: offered by STARTTLS with this certificate; None: not offered.
        breaks_tls: promises TLS and talks nonsense.
    """

    greeting: Answer = "220 mx.test ESMTP"
    extensions: tuple[str, ...] = EXTENSIONS
    hello: Answer = None
    auth: Answer = "502 5.5.1 no"
    """Asked again for each line of a dialogue, as long as it says 334."""
    mail: Answer = "250 2.1.0 OK"
    recipient: Answer = "250 2.1.5 OK"
    reset: Answer = "250 2.0.0 OK"
    data: Answer = "354 go on"
    content: Answer = "250 2.0.0 taken"
    hangs: str = ""
    tls: ssl.SSLContext | None = None
    breaks_tls: bool = False


@dataclass
class MailExchanger:
    """An SMTP server in threads; `with` it serves."""

    host: str = "127.0.0.1"
    port: int = 0
    behaviour: Behaviour = field(default_factory=Behaviour)
    taken: list[Taken] = field(default_factory=list)
    verbs: list[str] = field(default_factory=list)
    """Of every command of every connection."""
    connections: int = 0
    open_now: int = 0
    most_open: int = 0
    on_taken: Callable[[Taken], None] = lambda _: None
    _server: Any = None
    _lock: Any = field(default_factory=threading.Lock)
    _ended: bool = False

    def start(self) -> None:
        """Serve, in threads."""
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                owner.serve(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 128

            def handle_error(self, _request: Any, _address: Any) -> None:
                """A client that goes away is no news."""

        self._server = Server((self.host, self.port), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Serve no more."""
        self._ended = True
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def accepted(self) -> list[Taken]:
        """What was answered 250."""
        return [taken for taken in self.taken if taken.accepted]

    # -- one session ------------------------------------------------------------------------

    def serve(self, handler: Any) -> None:
        """Speak with one client."""
        with self._lock:
            self.connections += 1
            self.open_now += 1
            self.most_open = max(self.most_open, self.open_now)
        try:
            _Session(self, handler).run()
        finally:
            with self._lock:
                self.open_now -= 1

    def keep(self, taken: Taken) -> None:
        """Remember a transaction."""
        with self._lock:
            self.taken.append(taken)
        self.on_taken(taken)

    def hang(self) -> None:
        """Wait until it is stopped."""
        while not self._ended:
            time.sleep(0.05)


class _HungUp(Exception):
    pass


class _Session:
    def __init__(self, owner: MailExchanger, handler: Any) -> None:
        self._owner = owner
        self._socket = handler.request
        self._input = handler.rfile
        self._is_tls = False
        self._hello = ""
        self._peer = handler.client_address[0]
        self._mail = ""
        self._recipients: list[str] = []

    def run(self) -> None:
        behaviour = self._owner.behaviour
        try:
            self._say("GREETING", behaviour.greeting, "")
            while True:
                line = self._input.readline(65536)
                if not line:
                    return
                verb, _, argument = line.decode("utf-8", "replace").rstrip("\r\n").partition(" ")
                self._owner.verbs.append(verb.upper())
                if not self._command(behaviour, verb.upper(), argument):
                    return
        except (_HungUp, OSError):
            return

    def _command(self, behaviour: Behaviour, verb: str, argument: str) -> bool:
        if verb in {"EHLO", "HELO"}:
            self._greeted(behaviour, verb, argument)
        elif verb == "STARTTLS" and behaviour.tls is not None:
            self._say(verb, "220 2.0.0 go on", argument)
            self._start_tls(behaviour)
        elif verb == "AUTH":
            while self._say(verb, behaviour.auth, argument).startswith("334"):
                argument = self._input.readline(65536).decode().strip()
        elif verb == "MAIL":
            self._mail = argument
            self._say(verb, behaviour.mail, argument)
        elif verb == "RCPT":
            if self._say(verb, behaviour.recipient, argument).startswith("2"):
                self._recipients.append(argument)
        elif verb == "DATA":
            self._content(behaviour, argument)
        elif verb == "RSET":
            self._recipients = []
            self._say(verb, behaviour.reset, argument)
        elif verb == "QUIT":
            self._say(verb, "221 2.0.0 bye", argument)
            return False
        else:
            self._say(verb, "502 5.5.1 no", argument)
        return True

    def _greeted(self, behaviour: Behaviour, verb: str, argument: str) -> None:
        self._hello = argument
        if behaviour.hello is not None:
            self._say(verb, behaviour.hello, argument)
            return
        words = list(behaviour.extensions) if verb == "EHLO" else []
        if behaviour.tls is not None and not self._is_tls and verb == "EHLO":
            words.append("STARTTLS")
        lines = ["mx.test", *words]
        text = "\n".join(f"250{'-' if number < len(lines) - 1 else ' '}{line}" for number, line in enumerate(lines))
        self._say(verb, text, argument)

    def _start_tls(self, behaviour: Behaviour) -> None:
        assert behaviour.tls is not None
        if behaviour.breaks_tls:
            self._socket.sendall(b"this is no handshake\r\n")
            raise _HungUp
        self._socket = behaviour.tls.wrap_socket(self._socket, server_side=True)
        self._input = self._socket.makefile("rb")
        self._is_tls = True

    def _content(self, behaviour: Behaviour, argument: str) -> None:
        if not self._recipients:
            self._say("DATA", "554 5.5.1 no valid recipients", argument)
            return
        if not self._say("DATA", behaviour.data, argument).startswith("3"):
            return
        wire = bytearray()
        while not (wire.endswith(b"\r\n.\r\n") or bytes(wire) == b".\r\n"):
            line = self._input.readline(1 << 20)
            if not line:
                raise _HungUp
            wire += line
        answer = behaviour.content
        said = answer(self._mail) if callable(answer) else answer
        self._owner.keep(
            Taken(
                self._mail,
                tuple(self._recipients),
                bytes(wire),
                said or "",
                self._is_tls,
                self._hello,
                self._peer,
                time.time(),
            )
        )
        self._recipients = []
        self._say("CONTENT", said, argument)

    def _say(self, verb: str, answer: Answer, argument: str) -> str:
        """Answer; hang up or hang where that is wanted."""
        if self._owner.behaviour.hangs == verb:
            self._owner.hang()
            raise _HungUp
        text = answer(argument) if callable(answer) else answer
        if text is None:
            raise _HungUp
        self._socket.sendall(text.replace("\n", "\r\n").encode() + b"\r\n")
        return text
