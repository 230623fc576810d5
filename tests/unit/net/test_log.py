"""Log lines: one object each, fields bound per connection, nothing from outside that steers them."""

from __future__ import annotations

import io
import json
import logging
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
