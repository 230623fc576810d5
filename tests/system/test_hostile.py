"""Clients that mean harm or break off: a clear answer, bounded memory, nothing stored by halves, and on it goes."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import imapclient
import pytest

from mailcore.imap.connection import ImapConnection
from mailcore.lmtp.policy import LmtpPolicy
from mailcore.model.actions import Peer
from mailcore.services import MailServices
from mailcore.services.accounts.passwords import MEMORY_KIB
from mailcore.smtp.connection import SmtpConnection
from tests.builders import MadeUser, make_settings, make_user
from tests.hostile import HOSTILE, MIB
from tests.system import altered_server
from tests.system.servers import RunningServer, environment_of, start
from tests.system.stored import counted, stored
from tests.system.strict_imap import HOST, StrictImap
from tests.system.test_lmtp import Raw, stuffed
from tests.transcripts.imap.dialogue import Imap

GIB = 1 << 30
BY_NAME = {message.name: message for message in HOSTILE}
ATTACHED = base64.encodebytes(random.Random(1).randbytes(300_000)).replace(b"\n", b"\r\n")
CUT_OFF = (
    b"From: a@b.c\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\ntext\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + ATTACHED
    + b"--b--\r\n"
)


@contextmanager
def bounded(server: RunningServer, label: str, limit_kb: float) -> Iterator[None]:
    """What is done inside makes the process hold that much more at most, at any moment."""
    server.begin_peak()
    before, cpu = server.rss_kb(), server.cpu_s()
    yield
    grown = server.peak_kb() - before
    print(f"{label}: {before} kB before, {grown} kB more at most, {server.cpu_s() - cpu:.2f} s CPU")
    assert grown < limit_kb, f"{label}: {grown} kB"


def goes_on(server: RunningServer, services: MailServices) -> None:
    """Somebody new gets a message and reads it."""
    other = make_user(services)
    client = Raw(server)
    client.begin(other)
    client.send(b"DATA\r\nSubject: still here\r\n\r\n.\r\n")
    client.expect("354", "250 2.0.0")
    client.close()
    with StrictImap.signed_in(server.port("imap"), other, "INBOX") as reader:
        (response,) = reader.ok(b"FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]")
        assert b"Subject: still here\r\n\r\n" in response.value.values()


# -- who does not get in ------------------------------------------------------------------------


def test_wrong_password_is_told_as_an_unknown_user_is(mail_server: RunningServer, user: MadeUser) -> None:
    nobody = "nobody@" + user.address.partition("@")[2]
    plain = base64.b64encode(f"\0{user.address}\0wrong".encode())
    with StrictImap(mail_server.port("imap")) as client:
        answers = [
            client.run(f'LOGIN {user.address} "wrong"'.encode())[-1],
            client.run(f'LOGIN {nobody} "{user.password}"'.encode())[-1],
            client.run(b"AUTHENTICATE PLAIN " + plain)[-1],
        ]
        assert {(answer.kind, answer.code, answer.value) for answer in answers} == {
            (b"NO", b"AUTHENTICATIONFAILED", answers[0].value)
        }
        assert client.run(b"SELECT INBOX")[-1].kind == b"BAD"
        client.ok(f'LOGIN {user.address} "{user.password}"'.encode())
        client.ok(b"SELECT INBOX")
    log = mail_server.log_path.read_text()
    assert user.password not in log
    with pytest.raises(imapclient.exceptions.LoginError, match="AUTHENTICATIONFAILED"):
        imapclient.IMAPClient(HOST, mail_server.port("imap"), ssl=False).login(user.address, "wrong")


def test_unfinished_literal_holds_nobody_up(mail_server: RunningServer, services: MailServices, user: MadeUser) -> None:
    """Before and behind the login, waiting for "+" and not."""
    before = stored(services, user)
    waiting = []
    for opening in (b"a LOGIN {10}\r\n", b"a LOGIN {10+}\r\nabc", b"a LOGIN {10}\r\nabc"):
        client = StrictImap(mail_server.port("imap"))
        client.send(opening)
        if b"+" not in opening:
            assert client.read().tag == b"+"
        waiting.append(client)
    for opening in (b"a APPEND INBOX {900}\r\nFrom: x", b"a APPEND INBOX {900+}\r\nFrom: x", b'a LIST "" {9}\r\n'):
        client = StrictImap.signed_in(mail_server.port("imap"), user)
        client.send(opening)
        waiting.append(client)
    goes_on(mail_server, services)
    for client in waiting:
        client.close()
    goes_on(mail_server, services)
    assert stored(services, user) == before


# -- more than there is room for ----------------------------------------------------------------


def announce_a_gigabyte(server: RunningServer, user: MadeUser) -> None:
    """Every door a size can be announced at; each is refused before it is taken."""
    port = server.port("imap")
    for line in (b"LOGIN {%d}" % GIB, b'LIST "" {%d}' % GIB, b"FETCH {99999999999}", b"APPEND INBOX {%d}" % GIB):
        with StrictImap(port) as client:
            assert client.run(line)[-1].kind == b"BAD"
            client.ok(b"NOOP")
    with StrictImap.signed_in(port, user) as client:
        done = client.run(b"APPEND INBOX {%d}" % GIB)[-1]
        assert (done.kind, done.code) == (b"NO", b"TOOBIG")
        assert client.run(b'LIST "" {%d}' % GIB)[-1].kind == b"BAD"
        client.ok(b"NOOP")
    for command in (b"LOGIN", b"APPEND INBOX", b"X"):
        with StrictImap(port) if command == b"LOGIN" else StrictImap.signed_in(port, user) as client:
            client.send(b"a %b {%d+}\r\n" % (command, GIB))
            assert client.until(b"a")[-1].kind in {b"BAD", b"NO"}
            assert client.read().kind == b"BYE"
            with pytest.raises((EOFError, ConnectionResetError)):
                client.read()


def test_gigabyte_is_refused_before_memory_is_taken(
    mail_server: RunningServer, services: MailServices, user: MadeUser
) -> None:
    """Attack N5."""
    goes_on(mail_server, services)
    before = stored(services, user)
    with bounded(mail_server, "1 GB announced by IMAP", 5 * 1024 + MEMORY_KIB):  # it signs in, which takes one hash
        announce_a_gigabyte(mail_server, user)
    with bounded(mail_server, "1 GB announced by LMTP", 5 * 1024):
        client = Raw(mail_server)
        client.send(b"LHLO x.test\r\nMAIL FROM:<> SIZE=%d\r\n" % GIB)
        client.expect("250", "552 5.3.4")
        client.begin(user)
        client.send(b"BDAT %d LAST\r\n" % GIB + b"x" * MIB)
        client.close()
    assert stored(services, user) == before
    goes_on(mail_server, services)


def test_memory_taken_for_what_is_announced_would_be_seen(
    services: MailServices, user: MadeUser, directory_uri: str, redis_url: str, tmp_path: Path
) -> None:
    """Negative control: the scanner makes room before it looks at the size."""
    environment = environment_of(directory_uri, redis_url, ["imap"])
    launcher = (*altered_server.LAUNCH, "literal-memory")
    with (
        start(["imap"], environment, tmp_path, launcher=launcher) as server,
        pytest.raises(AssertionError, match="kB"),
        bounded(server, "room made first", 5 * 1024),
    ):
        announce_a_gigabyte(server, user)


# -- messages that hurt -------------------------------------------------------------------------


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "name",
    [
        *["multiparts-10000-deep", "parts-100000", "inline-images-1000-of-31-kb", "nul-everywhere"],
        *["headers-100000", "messages-1000-nested", "line-of-50-mb"],
    ],
)
def test_message_that_hurts_goes_in_and_out_whole(
    mail_server: RunningServer, services: MailServices, user: MadeUser, name: str
) -> None:
    """Attack M1 through every door: less than 4 times its size and 20 MB."""
    goes_on(mail_server, services)
    raw = BY_NAME[name].build()
    limit_kb = 4 * len(raw) / 1024 + 20 * 1024
    label = f"{name} ({len(raw) / MIB:.1f} MB)"
    with bounded(mail_server, f"{label} by LMTP", limit_kb):
        client = Raw(mail_server)
        client.begin(user)
        client.send(b"DATA\r\n" + stuffed(raw))
        client.expect("354", "250 2.0.0")
        client.close()
    with StrictImap.signed_in(mail_server.port("imap"), user) as reader:
        with bounded(mail_server, f"{label} by APPEND", limit_kb):
            assert reader.append(raw).kind == b"OK"
        reader.ok(b"SELECT INBOX")
        with bounded(mail_server, f"{label} structure", limit_kb):
            described = reader.ok(b"FETCH 1:* (RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY)")
        assert described[1].value[b"RFC822.SIZE"] == len(raw)
        assert described[1].value[b"ENVELOPE"][1] in {b"hostile", b"ab"}
        with bounded(mail_server, f"{label} by FETCH", limit_kb):
            delivered, appended = reader.ok(b"FETCH 1:* BODY.PEEK[]")
        assert appended.value[b"BODY[]"] == raw
        assert delivered.value[b"BODY[]"].partition(b" +0000\r\n")[2] == raw
        with bounded(mail_server, f"{label} by SEARCH", limit_kb):
            (found,) = reader.ok(b"SEARCH TEXT nothing-like-it")
        assert found.value == []
    goes_on(mail_server, services)


# -- connections that break off -----------------------------------------------------------------


def in_the_middle_of_data(server: RunningServer, user: MadeUser, *, whole: bool) -> None:
    client = Raw(server)
    client.begin(user)
    client.send(b"DATA\r\n")
    client.expect("354")
    if whole:
        client.send(stuffed(CUT_OFF))
        client.expect("250 2.0.0")
    else:
        cut_off(server, "lmtp", client, CUT_OFF[:-1000])


def in_the_middle_of_a_chunk(server: RunningServer, user: MadeUser, *, whole: bool) -> None:
    client = Raw(server)
    client.begin(user)
    half = len(CUT_OFF) // 2
    client.send(b"BDAT %d\r\n" % half + CUT_OFF[:half])
    client.expect("250 2.0.0")
    last = b"BDAT %d LAST\r\n" % (len(CUT_OFF) - half) + CUT_OFF[half:]
    if whole:
        client.send(last)
        client.expect("250 2.0.0")
    else:
        cut_off(server, "lmtp", client, last[:-1])


def in_the_middle_of_append(server: RunningServer, user: MadeUser, *, whole: bool) -> None:
    client = StrictImap.signed_in(server.port("imap"), user)
    client.send(b"a APPEND INBOX {%d}\r\n" % len(CUT_OFF))
    assert client.read().tag == b"+"
    if whole:
        client.send(CUT_OFF + b"\r\n")
        assert client.until(b"a")[-1].kind == b"OK"
    else:
        cut_off(server, "imap", client, CUT_OFF[:-1])


def behind_the_literal_of_append(server: RunningServer, user: MadeUser, *, whole: bool) -> None:
    """Every byte of the message is there, but not the line end that makes it a command."""
    client = StrictImap.signed_in(server.port("imap"), user)
    client.send(b"a APPEND INBOX {%d+}\r\n" % len(CUT_OFF))
    if whole:
        client.send(CUT_OFF + b"\r\n")
        assert client.until(b"a")[-1].kind == b"OK"
    else:
        cut_off(server, "imap", client, CUT_OFF)


def cut_off(server: RunningServer, name: str, client: Raw | StrictImap, last: bytes) -> None:
    """Send this much and hang up; returns when the server has let go of the connection."""
    client.send(last)
    client.close()
    server.wait_open(name, 0)


@pytest.mark.parametrize(
    "dialogue",
    [in_the_middle_of_data, in_the_middle_of_a_chunk, in_the_middle_of_append, behind_the_literal_of_append],
)
def test_connection_that_breaks_off_changes_nothing(
    mail_server: RunningServer, services: MailServices, user: MadeUser, dialogue: Callable[..., None]
) -> None:
    """Not one document is added or changed; the same dialogue to its end adds message, blob, reference and chunk."""
    before = stored(services, user)
    for _ in range(3):
        dialogue(mail_server, user, whole=False)
    goes_on(mail_server, services)
    assert stored(services, user) == before
    status = services.mailboxes.status(user.user_id, [services.mailboxes.find(user.user_id, "INBOX").id])
    assert [(one.exists, one.uid_next, one.size_bytes) for one in status.values()] == [(0, 1, 0)]
    assert services.quotas.use(user.user_id, fresh=True) == 0
    dialogue(mail_server, user, whole=True)
    added = counted(stored(services, user)) - counted(before)
    assert added.keys() >= {"hot.messages", "hot.blobs", "hot.blob_refs", "cold.chunks"}
    assert services.quotas.use(user.user_id, fresh=True) >= len(CUT_OFF)


def end_imap_as_if_it_were_whole(self: ImapConnection) -> None:
    """What is missing is made up, and then carried out."""
    awaited = self._scanner._awaited
    assert awaited is not None
    missing = awaited[1] - len(self._scanner._buffer)
    for _ in self.receive(b"?" * missing + b"\r\n"):
        pass


def end_lmtp_as_if_it_were_whole(self: SmtpConnection) -> None:
    """The end of the connection is taken for the end of the content."""
    for _ in self.receive(b"\r\n.\r\n"):
        pass


def test_half_a_message_stored_would_be_seen(
    services: MailServices, user: MadeUser, directory_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: connections that make a whole of what they have."""
    monkeypatch.setattr(ImapConnection, "eof", end_imap_as_if_it_were_whole)
    monkeypatch.setattr(SmtpConnection, "eof", end_lmtp_as_if_it_were_whole)
    before = stored(services, user)
    imap = Imap(services, user).sign_in()
    imap.ask(b"a APPEND INBOX {%d+}\r\n" % len(CUT_OFF) + CUT_OFF[:-1000])
    imap.close()
    after_imap = stored(services, user)
    assert after_imap != before
    lmtp = SmtpConnection(
        LmtpPolicy(services.delivery, services.spam, make_settings(directory_uri)),
        Peer("127.0.0.1", 1, None, "x"),
        offers_tls=False,
    )
    for _ in lmtp.receive(f"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<{user.address}>\r\nDATA\r\nSubject: half".encode()):
        pass
    lmtp.eof()
    assert stored(services, user) != after_imap
