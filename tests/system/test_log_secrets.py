r"""What servers log at their most talkative: every line one JSON object, nothing that steers a terminal, no secret.

Attack W23: CR, LF, ESC, U+2028 and direction marks in everything a client can name; canaries in password, body and
subject.
"""

from __future__ import annotations

import base64
import json
import smtplib
import socket
import unicodedata
import urllib.request
from pathlib import Path

import pytest

from mailcore import log as log_module
from mailcore.services import MailServices
from tests.builders import make_user
from tests.system.servers import RunningServer, environment_of, start

EVIL = "a\x1b[2Jb\u2028c\u202ed\x9b31me\x07f"
PASSWORD = "canary-of-a-password-1"
WRONG = "canary-of-a-wrong-password-2"
BODY = "canary-of-a-body-3"
SUBJECT = "canary-of-a-subject-4"
CANARIES = (PASSWORD, WRONG, BODY, SUBJECT)


@pytest.fixture(scope="module")
def talkative(
    services: MailServices, directory_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunningServer, str, str]:
    """A server that has met a hostile client, its whole log, and its metrics."""
    user = make_user(services, password=PASSWORD)
    environment = environment_of(directory_uri, redis_url, ["lmtp", "imap"], EIDER_LOG_LEVEL="DEBUG")
    with start(["lmtp", "imap"], environment, tmp_path_factory.mktemp("talkative")) as server:
        deliver(server.port("lmtp"), user.address)
        speak_imap(server.port("imap"), user.address)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port('health')}/metrics") as answer:
            metrics = answer.read().decode()
    return server, server.log_path.read_bytes().decode("utf-8", "surrogateescape"), metrics


def deliver(port: int, address: str) -> None:
    raw = f"Subject: {SUBJECT}\r\nMessage-ID: <{EVIL}@x>\r\nFrom: {EVIL} <e@x.test>\r\n\r\n{BODY}\r\n".encode()
    with smtplib.LMTP("127.0.0.1", port) as client:
        client.docmd("LHLO", "evil.test")
        client.docmd("VRFY", "x\x1b[2J")
        client.docmd("MAIL", "FROM:<a\x1b[2J@x.test>")
        client.docmd("MAIL", "FROM:<e@x.test>")
        client.docmd("RCPT", 'TO:<"\x1b[2J"@nowhere.test>')
        client.docmd("RCPT", f"TO:<{address}>")
        code, _ = client.docmd("DATA")
        assert code == 354
        client.send(raw + b".\r\n")
        code, said = client.getreply()
        assert code == 250, said


def speak_imap(port: int, address: str) -> None:
    evil = EVIL.encode()
    wrong = base64.b64encode(f"\0{EVIL}\0{WRONG}".encode())
    message = f"Subject: {SUBJECT}\r\n\r\n{BODY}\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        stream = client.makefile("rwb")
        stream.readline()

        def command(line: bytes, *literals: bytes) -> bytes:
            stream.write(b"t " + line + b"\r\n")
            stream.flush()
            for literal in literals:
                while not (said := stream.readline()).startswith((b"+", b"t ")):
                    pass
                if said.startswith(b"t "):
                    return said
                stream.write(literal + b"\r\n")
                stream.flush()
            while not (said := stream.readline()).startswith(b"t "):
                assert said, line
            return said

        command(b"LOGIN {%d}" % len(evil), evil + b' "%s"' % WRONG.encode())
        command(b"AUTHENTICATE PLAIN " + wrong)
        command(b'ID ("name" {%d}' % len(evil), evil + b")")
        command(b"XYZ\x1b[2J \xff\x9b31m")
        assert b"OK" in command(f'LOGIN "{address}" "{PASSWORD}"'.encode())
        command(b"SELECT {%d}" % len(evil), evil)
        command(b"CREATE {%d}" % len(evil), evil)
        command(b'CREATE "a&IC4-b"')  # U+202E, which turns what follows around, in modified UTF-7
        command(b"SELECT INBOX")
        assert b"OK" in command(b"APPEND INBOX {%d}" % len(message), message)
        command(b"SEARCH BODY {%d}" % len(BODY), BODY.encode())
        command(b"STORE 1 +FLAGS (a\x1b[2J)")
        command(b"LOGOUT")


def steers(text: str) -> set[str]:
    """Characters that end a line, hide text or speak to a terminal."""
    return {
        c for c in text if c != "\n" and (unicodedata.category(c) in {"Cc", "Zl", "Zp", "Cs"} or c in "\u202e\u2066")
    }


def check_lines(text: str) -> None:
    for line in text.splitlines():
        assert steers(line) == set(), ascii(line)
        assert "event" in json.loads(line)


def test_every_line_is_one_object_that_steers_nothing(talkative: tuple[RunningServer, str, str]) -> None:
    _, text, _ = talkative
    assert text.count("\n") > 20
    assert "a\\\\x202eb" in text, "what the client said was logged, so there was something to escape"
    assert steers(text) == set()
    check_lines(text)


def test_neither_log_nor_metrics_hold_a_canary(talkative: tuple[RunningServer, str, str]) -> None:
    server, text, metrics = talkative
    assert server.events("login.accepted")
    assert server.events("login.refused")
    for canary in CANARIES:
        for form in (canary, base64.b64encode(canary.encode()).decode().rstrip("="), canary.encode().hex()):
            assert form not in text
            assert form not in metrics
    assert steers(metrics) == set()


def test_without_the_cleaning_a_field_steers_the_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Control: the function that escapes is what keeps the test above green."""
    import logging

    record = logging.makeLogRecord({"msg": "event", "field": EVIL})
    check_lines(log_module.JsonFormatter().format(record))
    monkeypatch.setattr(log_module, "clean", lambda text: text)
    with pytest.raises(AssertionError):
        assert steers(log_module.JsonFormatter().format(record)) == set()
