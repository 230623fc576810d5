"""Load from outside: MTAs that deliver and retry as MTAs do, and readers that note every UID they see."""

from __future__ import annotations

import contextlib
import itertools
import random
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import imapclient

from tests.chaos.ledger import Delivery, Ledger, Outcome, digest

RETRY_PAUSE_S = 0.2
SOCKET_TIMEOUT_S = 20.0
HEADER = "X-Ledger-Id"


@dataclass(frozen=True, slots=True)
class Login:
    """An account of the load, and the shard it lives on."""

    address: str
    password: str
    shard: str


def make_message(ledger_id: str, recipient: str, size_bytes: int, rng: random.Random) -> bytes:
    """Return a message that names its id in header and body; random text of about that size."""
    words = " ".join(f"{rng.getrandbits(40):010x}" for _ in range(max(1, size_bytes // 11)))
    lines = [words[start : start + 76] for start in range(0, len(words), 76)]
    head = f"From: load@sender.example\r\nTo: {recipient}\r\nSubject: {ledger_id}\r\n{HEADER}: {ledger_id}\r\n"
    head += f"Message-ID: <{ledger_id}@sender.example>\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n\r\n{ledger_id}\r\n"
    return (head + "\r\n".join(lines) + "\r\n").encode()


class Load:
    """Deliverers and readers in threads; ends when told, then everything in flight is concluded."""

    def __init__(self, host: str, lmtp_ports: Sequence[int], imap_ports: Sequence[int], ledger: Ledger) -> None:
        self.ledger = ledger
        self.seen: dict[tuple[str, int, int], str] = {}
        self.violations: list[str] = []
        self.answers: Counter[str] = Counter()
        self.progress: list[tuple[float, str]] = []
        self._host = host
        self._lmtp_ports = tuple(lmtp_ports)
        self._imap_ports = tuple(imap_ports)
        self._stop = threading.Event()
        self._give_up = threading.Event()
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count()

    def start(
        self, deliver_to: Sequence[Login], read: Sequence[Login], *, pause_s: float = 0.03, seed: int = 1
    ) -> None:
        """Start one deliverer for each of `deliver_to` and one reader for each of `read`."""
        for number, login in enumerate(deliver_to):
            self._spawn(lambda login=login, number=number: self._deliver_all(login, seed + number, pause_s))
        for number, login in enumerate(read):
            self._spawn(lambda login=login, number=number: self._read_all(login, number))

    def stop(self, timeout_s: float = 60.0) -> None:
        """Stop sending new mail, let retries come to their end, and join."""
        self._stop.set()
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.1, until - time.monotonic()))
        self._give_up.set()
        for thread in self._threads:
            thread.join(SOCKET_TIMEOUT_S)
        if any(thread.is_alive() for thread in self._threads):
            self.violations.append("a client hangs")

    def wait_acked(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until `count` more deliveries were acknowledged than at the call."""
        self._wait(lambda: len(self.ledger.of_outcome(Outcome.ACKED)), count, timeout_s)

    def wait_answered(self, prefix: str, count: int, timeout_s: float = 60.0) -> None:
        """Wait until `count` more answers beginning with `prefix` came."""
        self._wait(lambda: sum(n for key, n in self.answers.items() if key.startswith(prefix)), count, timeout_s)

    def _wait(self, measure: Callable[[], int], count: int, timeout_s: float) -> None:
        goal = measure() + count
        until = time.monotonic() + timeout_s
        while measure() < goal:
            if time.monotonic() > until:
                raise AssertionError(f"only {measure()} of {goal} within {timeout_s} s; answers {dict(self.answers)}")
            self._stop.wait(0.02)

    def _spawn(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    # -- deliverers ---------------------------------------------------------------------------

    def _deliver_all(self, login: Login, seed: int, pause_s: float) -> None:
        rng = random.Random(seed)
        with _Mta(self._host, self._lmtp_ports) as mta:
            while not self._stop.is_set():
                ledger_id = f"l{seed}-{next(self._numbers)}"
                raw = make_message(ledger_id, login.address, rng.choice((200, 2000, 9000)), rng)
                self.ledger.intend(Delivery(ledger_id, login.address, digest(raw), len(raw)))
                self._deliver_until_accepted(mta, login, ledger_id, raw)
                self._stop.wait(pause_s)

    def _deliver_until_accepted(self, mta: _Mta, login: Login, ledger_id: str, raw: bytes) -> None:
        """Try as an MTA does: the same queue id each time, until the answer is final."""
        while True:
            code, sent = mta.deliver(ledger_id, login.address, raw)
            self.answers[f"lmtp/{login.shard}/{code}"] += 1
            if code == "250":
                self.ledger.conclude(ledger_id, Outcome.ACKED, code)
                self.progress.append((time.monotonic(), login.shard))
                return
            self.ledger.conclude(ledger_id, Outcome.UNKNOWN if sent else Outcome.REFUSED, code)
            if code.startswith("5"):
                self.violations.append(f"{ledger_id} for {login.shard} was refused for good: {code}")
                return
            if self._give_up.wait(RETRY_PAUSE_S):
                return

    # -- readers ------------------------------------------------------------------------------

    def _read_all(self, login: Login, number: int) -> None:
        uid_next, known = 0, 0
        while not self._stop.is_set():
            try:
                with self._reader(login, number) as client:
                    while not self._stop.is_set():
                        uid_next, known = self._read_once(client, login, uid_next, known)
                        self._stop.wait(0.05)
            except imapclient.exceptions.IMAPClientError as error:
                self.answers[f"imap/{login.shard}/{_kind(str(error))}"] += 1
            except OSError:
                self.answers[f"imap/{login.shard}/gone"] += 1
            self._stop.wait(RETRY_PAUSE_S)

    @contextlib.contextmanager
    def _reader(self, login: Login, number: int) -> Iterator[imapclient.IMAPClient]:
        port = self._imap_ports[number % len(self._imap_ports)]
        client = imapclient.IMAPClient(self._host, port, ssl=False, timeout=SOCKET_TIMEOUT_S)
        try:
            client.login(login.address, login.password)
            yield client
        finally:
            with contextlib.suppress(OSError, imapclient.exceptions.IMAPClientError):
                client.shutdown()

    def _read_once(self, client: imapclient.IMAPClient, login: Login, uid_next: int, known: int) -> tuple[int, int]:
        try:
            state = client.select_folder("INBOX", readonly=True)
            validity, now_next = state[b"UIDVALIDITY"], state[b"UIDNEXT"]
            if now_next < uid_next:
                self.violations.append(f"UIDNEXT of {login.address} fell from {uid_next} to {now_next}")
            uids = client.search(["UID", f"{max(1, known - 3)}:*"])
            fetched = client.fetch(uids, [f"BODY.PEEK[HEADER.FIELDS ({HEADER})]"]) if uids else {}
        except imapclient.exceptions.IMAPClientError as error:
            answer = _kind(str(error))
            self.answers[f"imap/{login.shard}/{answer}"] += 1
            if answer != "UNAVAILABLE":
                raise
            return uid_next, known
        for uid, items in fetched.items():
            header = next((value for key, value in items.items() if key.startswith(b"BODY[HEADER")), b"") or b""
            ledger_id = header.decode().partition(":")[2].strip()
            if self.seen.setdefault((login.address, validity, uid), ledger_id) != ledger_id:
                self.violations.append(f"UID {uid} of {login.address} now is another message")
            known = max(known, uid)
        self.answers[f"imap/{login.shard}/OK"] += 1
        self.progress.append((time.monotonic(), f"imap {login.shard}"))
        return now_next, known


class _Mta:
    """One LMTP connection that is made anew when it breaks."""

    def __init__(self, host: str, ports: Sequence[int]) -> None:
        self._host, self._ports = host, itertools.cycle(ports)
        self._connection: smtplib.LMTP | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._drop()

    def deliver(self, ident: str, recipient: str, raw: bytes) -> tuple[str, bool]:
        """Send once; return the reply code ("lost" when none came) and whether content was sent."""
        sent = False
        try:
            connection = self._connected()
            connection.docmd(f"XFORWARD IDENT={ident}")
            for code, _ in (connection.mail("load@sender.example"), connection.rcpt(recipient)):
                if code >= 300:
                    self._reset(connection)
                    return str(code), False
            sent = True
            code, _ = connection.data(raw)
            if code != 250:
                self._reset(connection)
            return str(code), True
        except smtplib.SMTPDataError as error:
            return str(error.smtp_code), True
        except (OSError, smtplib.SMTPException):
            self._drop()
            return "lost", sent

    def _connected(self) -> smtplib.LMTP:
        if self._connection is None:
            connection = smtplib.LMTP(self._host, next(self._ports), timeout=SOCKET_TIMEOUT_S)
            connection.ehlo()
            self._connection = connection
        return self._connection

    def _reset(self, connection: smtplib.LMTP) -> None:
        connection.rset()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _kind(text: str) -> str:
    """Return the response code of a refusal, or the first words of what else went wrong."""
    for code in ("UNAVAILABLE", "INUSE", "AUTHENTICATIONFAILED"):
        if f"[{code}]" in text:
            return code
    return "gone" if "socket" in text.lower() or "eof" in text.lower() or "bye" in text.lower() else text[:60]
