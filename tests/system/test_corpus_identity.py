"""Promise P2: what goes in at one front door comes out at the other byte for byte, and real clients parse it."""

from __future__ import annotations

import imaplib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, cast

import imapclient
import pytest

from mailcore.message.split import Cut, encode_chunks
from mailcore.services import MailServices
from mailcore.services.content import stored_content
from tests.builders import MadeUser
from tests.corpus import as_let_in, iter_corpus
from tests.hostile import HOSTILE
from tests.system.servers import RunningServer
from tests.system.strict_imap import HOST, StrictImap
from tests.system.test_lmtp import Raw, as_data_stores_it, stuffed
from tests.transcripts.imap.dialogue import Imap
from tests.unit.message.imap_grammar import Reader

BATCH = 25
LAST_TRACE_LINE_END = b" +0000\r\n"
ITEMS = ["ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "BODY.PEEK[]"]


@pytest.fixture(scope="module")
def messages() -> list[tuple[str, bytes]]:
    """Others' messages where the shared corpus is there, and our own hostile ones."""
    own = [(hostile.name, hostile.build()) for hostile in HOSTILE if not hostile.is_large]
    return [*iter_corpus(), *((name, raw) for name, raw in own if raw)]


def deliver_all(server: RunningServer, user: MadeUser, messages: list[tuple[str, bytes]]) -> None:
    """By DATA, one connection; the next transaction is sent along with the content before it."""
    client = Raw(server)
    begin = b"MAIL FROM:<f@y.test>\r\nRCPT TO:<%s>\r\nDATA\r\n" % user.address.encode()
    client.send(b"LHLO peer.test\r\n" + begin)
    client.expect("250 ")
    for _, raw in messages:
        client.expect("250 2.1.0", "250 2.1.5", "354")
        client.send(stuffed(raw) + begin)
        client.expect("250 2.0.0")
    client.close()


def append_all(server: RunningServer, user: MadeUser, messages: list[tuple[str, bytes]]) -> None:
    """One connection, BATCH commands sent before the first answer is read."""
    with StrictImap.signed_in(server.port("imap"), user) as client:
        for at in range(0, len(messages), BATCH):
            batch = messages[at : at + BATCH]
            for number, (_, raw) in enumerate(batch):
                client.send(b"a%d APPEND INBOX {%d+}\r\n%b\r\n" % (number, len(raw), raw))
            for number, (name, _) in enumerate(batch):
                assert client.until(b"a%d" % number)[-1].kind == b"OK", name


def by_imapclient(server: RunningServer, user: MadeUser) -> Iterator[dict[bytes, Any]]:
    """Every message of the INBOX as imapclient has parsed it."""
    with imapclient.IMAPClient(HOST, server.port("imap"), ssl=False, timeout=60) as client:
        client.login(user.address, user.password)
        client.select_folder("INBOX", readonly=True)
        uids = client.search()
        for at in range(0, len(uids), BATCH):
            batch = uids[at : at + BATCH]
            found = client.fetch(batch, ITEMS)
            assert set(found) == set(batch)
            yield from (found[uid] for uid in batch)


def by_imaplib(server: RunningServer, user: MadeUser, count: int) -> Iterator[bytes]:
    """ENVELOPE and BODYSTRUCTURE of every message, as imaplib cuts responses; its literals put back in place."""
    with imaplib.IMAP4(HOST, server.port("imap"), timeout=60) as client:
        client.login(user.address, user.password)
        assert client.select("INBOX", readonly=True) == ("OK", [b"%d" % count])
        for first in range(1, count + 1, BATCH):
            status, parts = client.fetch(f"{first}:{min(first + BATCH - 1, count)}", "(ENVELOPE BODYSTRUCTURE)")
            assert status == "OK"
            whole = b""
            for part in cast("list[bytes | tuple[bytes, bytes]]", parts):
                if isinstance(part, tuple):
                    whole += part[0] + b"\r\n" + part[1]
                else:
                    yield whole + part
                    whole = b""
        assert client.noop()[0] == "OK"


def check_inbox(server: RunningServer, user: MadeUser, expected: list[tuple[str, bytes]], *, has_trace: bool) -> None:
    found = list(by_imapclient(server, user))
    assert len(found) == len(expected)
    for (name, raw), items in zip(expected, found, strict=True):
        whole = items[b"BODY[]"]
        assert items[b"RFC822.SIZE"] == len(whole), name
        if has_trace:
            assert whole.startswith(b"Return-Path: <f@y.test>\r\n")
            whole = whole.partition(LAST_TRACE_LINE_END)[2]
        assert whole == raw, name
        assert isinstance(items[b"ENVELOPE"], imapclient.response_types.Envelope), name
        assert isinstance(items[b"BODYSTRUCTURE"], imapclient.response_types.BodyData), name
    responses = list(by_imaplib(server, user, len(expected)))
    assert len(responses) == len(expected)
    for number, ((name, _), response) in enumerate(zip(expected, responses, strict=True), start=1):
        reader = Reader(response)
        reader.expect(b"%d (ENVELOPE " % number)
        assert len(reader.envelope()) == 10, name
        reader.expect(b" BODYSTRUCTURE ")
        assert reader.body(extended=True)["subtype"], name
        reader.expect(b")")
        reader.end()


@pytest.mark.timeout(300)
def test_what_lmtp_takes_imap_gives(
    mail_server: RunningServer, user: MadeUser, messages: list[tuple[str, bytes]]
) -> None:
    """Trace headers and forged verdicts aside; DATA makes every line end CRLF, and nothing else."""
    deliver_all(mail_server, user, messages)
    expected = [(name, as_let_in(as_data_stores_it(raw))) for name, raw in messages]
    check_inbox(mail_server, user, expected, has_trace=True)


@pytest.mark.timeout(300)
def test_what_append_takes_imap_gives(
    mail_server: RunningServer, user: MadeUser, messages: list[tuple[str, bytes]]
) -> None:
    append_all(mail_server, user, messages)
    check_inbox(mail_server, user, messages, has_trace=False)


@pytest.mark.parametrize("rewraps", [False, True], ids=["as it is", "negative control"])
def test_base64_wrapped_again_would_be_seen(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch, rewraps: bool
) -> None:
    """Lines of 72 characters come back so; made anew at 76, as most would, the check above turns red."""

    def rewrapped(chunks: Iterable[bytes], cut: Cut) -> Iterator[bytes]:
        return encode_chunks(chunks, replace(cut, line_length=76))

    if rewraps:
        monkeypatch.setattr(stored_content, "encode_chunks", rewrapped)
    (hostile,) = (hostile for hostile in HOSTILE if hostile.name == "base64-line-lengths")
    raw = hostile.build()
    imap = Imap(services, user)
    imap.append(raw)
    answer = imap.sign_in(select="INBOX").ask(b"a FETCH 1 BODY.PEEK[]\r\n")
    assert (raw in answer) is not rewraps
