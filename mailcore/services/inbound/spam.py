"""Is it spam? The word of the filter before us, or rspamd's when asked; and nobody else's.

A filter that is away stops no mail: the message goes on, marked as not looked at.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from socket import socket
from typing import Final
from urllib.parse import urlsplit

from mailcore.message.headers import header_size
from mailcore.message.verdict_fields import is_of_hop, read_verdict, without_forged
from mailcore.model.peers import Peers
from mailcore.model.verdict import Verdict
from mailcore.settings import MailSettings

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 10.0
"""For one message, all in all."""
CONNECT_S: Final = 2.0
PAUSE_S: Final = 5.0
"""After a fault the filter is not asked for so long."""
MAX_ANSWER_BYTES: Final = 1 << 20
MAX_RECIPIENTS: Final = 50
"""So many are named to the filter."""
_PIECE_BYTES: Final = 64 * 1024
_SPAM_ACTIONS: Final = frozenset({"add header", "rewrite subject", "quarantine", "reject", "discard"})

NOT_LOOKED_AT: Final = b"X-Spam-Status: Unchecked\r\n"


class FilterAway(Exception):
    """The filter did not answer, or not with a verdict."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is known of how a message came; the filter is told."""

    peer: str
    """Address of who hands the message over."""
    queue_id: str | None = None
    """The peer's own id of the message."""
    client_address: str = ""
    """Of whoever the peer had it from; empty if it does not say."""
    hello_name: str = ""
    reverse_path: str = ""
    forward_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What rspamd answered over HTTP."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether it did what was asked, or had done it before (208)."""
        return 200 <= self.status < 300

    @property
    def is_fault(self) -> bool:
        """Whether the same may work later; a password that is wrong can be mended."""
        return self.status >= 500 or self.status in {401, 403, 429}


@dataclass(frozen=True, slots=True)
class Screened:
    """A message that says of itself only what is so."""

    raw: bytes
    verdict: Verdict | None = None
    """None: nobody looked."""
    trace: bytes = b""
    """Header lines that tell of it, for the front of each copy."""


class Spam:
    """Screens incoming messages."""

    def __init__(self, settings: MailSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._authserv_id = settings.hostname
        self._peers = Peers(settings.verdict_peers)
        self._url = settings.rspamd_url
        self._clock = clock
        self._silent_until = 0.0

    def screen(self, raw: bytes, envelope: Envelope) -> Screened:
        """Return the message without what others wrote in a filter's name, and what the filter says.

        The fields of a peer that is listed for it count if they name its own queue id. Without them rspamd is
        asked, where its URL is set: one request, within `TIMEOUT_S`.
        """
        header = raw[: header_size(raw)]
        if self._peers.has(envelope.peer) and is_of_hop(header, envelope.queue_id):
            return Screened(raw, read_verdict(header))
        clean = without_forged(raw, self._authserv_id)
        if self._url is None:
            return Screened(clean)
        verdict = self._ask(self._url, clean, envelope)
        return Screened(clean, verdict, NOT_LOOKED_AT if verdict is None else status_line(verdict))

    def _ask(self, url: str, raw: bytes, envelope: Envelope) -> Verdict | None:
        now = self._clock()
        if now < self._silent_until:
            return None
        try:
            return check(url, raw, envelope)
        except FilterAway as error:
            self._silent_until = now + PAUSE_S
            log.warning("spam.filter_away", extra={"reason": str(error), "pause_s": PAUSE_S})
            return None


def status_line(verdict: Verdict) -> bytes:
    """Return the header line that tells of a verdict."""
    return f"X-Spam-Status: {'Yes' if verdict.is_spam else 'No'}, score={verdict.score:.2f}\r\n".encode()


def check(url: str, raw: bytes, envelope: Envelope) -> Verdict:
    """Ask rspamd (`POST /checkv2`).

    Raises:
        FilterAway: no verdict in time.
    """
    headers = [("From", envelope.reverse_path), *(("Rcpt", path) for path in envelope.forward_paths[:MAX_RECIPIENTS])]
    headers += [("IP", envelope.client_address), ("Helo", envelope.hello_name), ("Queue-Id", envelope.queue_id or "")]
    answer = post(url, "/checkv2", raw, [(name, value) for name, value in headers if value])
    if answer.status != 200:
        raise FilterAway(f"status {answer.status}: {answer.body[:200]!r}")
    try:
        found = json.loads(answer.body)
        action, score = str(found["action"]), float(found["score"])
        symbols = tuple(str(name) for name in found.get("symbols", {}))
    except (ValueError, KeyError, TypeError) as error:
        raise FilterAway(f"no verdict: {answer.body[:200]!r}") from error
    return Verdict(score, action in _SPAM_ACTIONS, action, symbols)


def post(url: str, path: str, body: bytes, headers: list[tuple[str, str]]) -> Answer:
    """Return what rspamd answers.

    Raises:
        FilterAway: a fault, too long an answer, or no answer within `TIMEOUT_S`.
    """
    give_up_at = time.monotonic() + TIMEOUT_S
    try:
        with closing(_connection(url)) as connection:
            connection.connect()
            connection.putrequest("POST", urlsplit(url).path.rstrip("/") + path, skip_accept_encoding=True)
            connection.putheader("Content-Length", str(len(body)))
            for name, value in headers:
                connection.putheader(name, value.encode())
            connection.endheaders()
            for start in range(0, len(body), _PIECE_BYTES):
                connection.sock.settimeout(_left(give_up_at))
                connection.send(body[start : start + _PIECE_BYTES])
            connection.sock.settimeout(_left(give_up_at))
            response = connection.getresponse()
            answer = _read(response, connection.sock, give_up_at)
    except (OSError, HTTPException, ValueError) as error:
        raise FilterAway(f"{type(error).__name__}: {error}") from error
    return Answer(response.status, answer)


def _connection(url: str) -> HTTPConnection:
    target = urlsplit(url)
    kind = HTTPSConnection if target.scheme == "https" else HTTPConnection
    return kind(target.hostname or "", target.port, timeout=CONNECT_S)


def _read(response: HTTPResponse, line: socket | None, give_up_at: float) -> bytes:
    """Return the body; `line` is None once the answer's end is that of the connection, which keeps its timeout."""
    pieces: list[bytes] = []
    while piece := response.read1(_PIECE_BYTES):
        pieces.append(piece)
        if sum(map(len, pieces)) > MAX_ANSWER_BYTES:
            raise FilterAway("too long an answer")
        left = _left(give_up_at)
        if line is not None:
            line.settimeout(left)
    return b"".join(pieces)


def _left(give_up_at: float) -> float:
    left = give_up_at - time.monotonic()
    if left <= 0:
        raise TimeoutError("no verdict in time")
    return left
