"""Log lines: one object each, fields bound per connection, nothing from outside that steers them."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from typing import Any

import gevent
import pytest

from mailcore import log
from mailcore.model.secret import Secret


@pytest.fixture
def lines() -> Any:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(log.JsonFormatter())
    logger = logging.getLogger("tests.log")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)


def test_record_has_event_and_fields(lines: Any) -> None:
    logger, read = lines
    logger.info("imap.login.refused", extra={"user": "a@x.test", "count": 3})
    (line,) = read()
    assert line["event"] == "imap.login.refused"
    assert (line["user"], line["count"], line["level"]) == ("a@x.test", 3, "info")


def test_fields_belong_to_their_connection(lines: Any) -> None:
    logger, read = lines

    def connection(name: str) -> None:
        log.enter({"session": name})
        gevent.sleep(0)
        log.bind(user=name.upper())
        gevent.sleep(0)
        logger.info("x")

    gevent.joinall([gevent.spawn(connection, name) for name in ("a", "b", "c")])
    assert {(line["session"], line["user"]) for line in read()} == {("a", "A"), ("b", "B"), ("c", "C")}


@pytest.mark.parametrize("evil", ["\r\n{}", "\x1b[2J", "\u2028x", "\u202egnp.exe", "\x00", "\x9b31m", "\ud800"])
def test_text_from_outside_stays_in_its_field(lines: Any, evil: str) -> None:
    logger, read = lines
    logger.info("event", extra={"value": "before" + evil + "after", "raw": evil.encode("utf-8", "surrogatepass")})
    (line,) = read()
    assert evil[0] not in line["value"] + line["raw"]
    assert line["value"].startswith("before\\x")


def test_secret_is_never_shown(lines: Any) -> None:
    logger, read = lines
    secret = Secret("hunter2")
    logger.info("event", extra={"password": secret, "all": [secret, {"k": secret}]})
    try:
        raise ValueError(secret)
    except ValueError:
        logger.exception("failed")
    text = json.dumps(read())
    assert "hunter2" not in text
    assert "***" in text


def test_long_text_is_cut(lines: Any) -> None:
    logger, read = lines
    logger.info("event", extra={"value": "x" * 100_000, "number": 1 << 70})
    assert len(read()[0]["value"]) < 3000


WRITE_LONG_LINES = """
import logging, threading
from mailcore import log
log.configure()
def write(letter):
    for number in range(30):
        logging.getLogger("x").info("long", extra={f"k{each}": letter * 2000 for each in range(1 + number % 2 * 9)})
threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def _broken_lines(program: str) -> int:
    """Return how many lines of threads come out broken from a pipe that is full again and again."""
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, bufsize=0) as written:
        assert written.stderr is not None
        data = b""
        while piece := written.stderr.read(1500):
            data += piece
    assert written.returncode == 0
    lines = data.splitlines()
    return len([line for line in lines if not (line.startswith(b'{"time"') and line.endswith(b'"}'))])


def test_long_lines_of_threads_come_out_whole() -> None:
    """Of 20 KB, and short ones between them, into a pipe that takes a part at a time."""
    assert _broken_lines(WRITE_LONG_LINES) == 0


def test_control_without_a_lock_long_lines_break() -> None:
    unlocked = "log.LineHandler.acquire = log.LineHandler.release = lambda self: None\nlog.configure()"
    unlocked += "\nlogging.root.handlers[0].lock = __import__('contextlib').nullcontext()"
    assert _broken_lines(WRITE_LONG_LINES.replace("log.configure()", unlocked)) > 0


def test_without_standard_error_nothing_is_written_to_what_is_opened_next(tmp_path: Any) -> None:
    """A daemon may be started so; descriptor 2 is then a client's connection."""
    program = (
        "import logging, os, sys\nfrom mailcore import log\nlog.configure()\n"
        "opened = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\nassert opened == 2\n"
        "logging.getLogger('x').warning('private')\n"
    )
    shell = f'exec "$0" -c "{program}" "$1" 2>&-'
    subprocess.run(["/bin/sh", "-c", shell, sys.executable, str(tmp_path / "opened")], check=True)
    assert (tmp_path / "opened").read_bytes() == b""
