"""Structured logging: one JSON object a line on standard error, with the fields of its connection.

`enter` makes a dict the fields of what runs now, `bind` adds to it. Text from outside cannot
start a line of its own or speak to a terminal: control characters and line separators are
escaped. A `Secret` shows as its stars.
"""

from __future__ import annotations

import _thread
import logging
import os
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

Fields = dict[str, Any]

_fields: ContextVar[Fields | None] = ContextVar("log_fields", default=None)

_UNSAFE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_LONGEST = 2048
"""Characters of one field's text; more is cut, for a client chooses what is logged."""


def enter(fields: Fields) -> None:
    """Make `fields` those of every record of this greenlet from now on."""
    _fields.set(fields)


def bind(**fields: Any) -> None:
    """Add fields to every later record of this connection."""
    current = _fields.get()
    if current is None:
        _fields.set(dict(fields))
    else:
        current.update(fields)


def bound() -> Fields:
    """Return the fields of this greenlet, not to be changed."""
    return _fields.get() or {}


def clean(text: str) -> str:
    """Return `text` without anything that ends a line or steers a terminal, and not too long."""
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "…"
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def _value(value: Any) -> Any:
    """Return what JSON can hold; everything unknown as its cleaned repr, so secrets stay stars."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 63 else str(value)
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, bytes):
        return clean(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, Mapping):
        return {clean(str(key)): _value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_value(item) for item in value]
    return clean(str(value))


class JsonFormatter(logging.Formatter):
    """One record as one line of JSON: time, level, event, the bound fields, the record's own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: Fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:23] + "Z",
            "level": record.levelname.lower(),
            "event": clean(record.getMessage()),
        }
        for key, value in bound().items():
            line[key] = _value(value)
        for key, value in vars(record).items():
            if key not in _STANDARD:
                line[key] = _value(value)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info).splitlines()
            line["traceback"] = [clean(text) for text in line["traceback"]]
        return orjson.dumps(line).decode()


class LineHandler(logging.Handler):
    """Writes each record by one call, so that lines of several threads come out whole.

    Those of several processes into one pipe do up to PIPE_BUF, which is 4 KiB.
    """

    def createLock(self) -> None:  # noqa: N802 - the library's name
        """Have one of threads, not of greenlets: none gets its turn while another writes."""
        super().createLock()
        self.lock = _thread.RLock()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record to standard error."""
        try:
            line = self.format(record).encode() + b"\n"
            while line:
                line = line[os.write(2, line) :]
        except Exception:  # noqa: BLE001  as every handler of the library
            self.handleError(record)


def configure(level: str = "INFO") -> None:
    """Send every record of this process to standard error as JSON lines; called once at start."""
    logging.logThreads = False  # a look-up of the "current thread" per record, of no use with greenlets
    logging.logMultiprocessing = logging.logProcesses = False
    logging._srcfile = None  # noqa: SLF001  nobody reads which line logged it
    # without standard error its number is the next file's or client's that is opened
    handler = LineHandler() if sys.stderr is not None else logging.NullHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("pymongo", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    bind(pid=os.getpid())
