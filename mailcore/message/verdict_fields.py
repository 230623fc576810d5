"""Header fields that only our own filter may write: what they say, and a message without those of strangers.

The filter names the queue id under which the transfer agent has the message, and the agent names the same
id when it hands the message over (XFORWARD IDENT). A sender does not know that id while it writes the
message, so fields that carry it are the filter's, and also where the filter was away nobody else's pass.
"""

from __future__ import annotations

import re
from typing import Final

from mailcore.message.headers import find_all, find_first, header_size, iter_fields
from mailcore.model.verdict import SPAM_SCORE, Verdict

MOST_SYMBOLS: Final = 200
_QUEUE_ID: Final = b"x-rspamd-queue-id"
_PREFIXES: Final = (b"x-spam", b"x-rspamd-")
_RESULTS: Final = b"authentication-results"
_SIGNS: Final = tuple(b"\n" + name for name in (*_PREFIXES, _RESULTS))
_NUMBER: Final = rb"(-?[0-9]{1,6}(?:\.[0-9]{1,6})?)"
_RESULT: Final = re.compile(rb"[\w.-]+: *(True|False) *\[ *" + _NUMBER + rb" */ *" + _NUMBER + rb" *\]")
_STATUS: Final = re.compile(rb"(Yes|No)\b(?:.{0,40}?\bscore=" + _NUMBER + rb")?", re.IGNORECASE)
_SYMBOL: Final = re.compile(rb";\s*([A-Za-z0-9_]{1,80})\(")
_TOKEN: Final = re.compile(rb'(?:"((?:[^"\\]|\\.)*)"|([^\s;()"]+))')


def is_of_hop(header: bytes, queue_id: str | None) -> bool:
    """Return whether the filter's fields are those of the agent that has the message under `queue_id`."""
    return queue_id is not None and find_all(header, _QUEUE_ID) == [queue_id.encode("ascii", "replace")]


def read_verdict(header: bytes) -> Verdict | None:
    """Return what rspamd's X-Spamd-Result and X-Spam-Status say, None if neither says anything."""
    result = _RESULT.match(find_first(header, b"x-spamd-result") or b"")
    status = _STATUS.match(find_first(header, b"x-spam-status") or b"")
    if result is None and status is None:
        return None
    score = 0.0
    if result is not None:
        score = float(result[2])
    elif status is not None and status[2] is not None:
        score = float(status[2])
    if status is not None:
        is_spam = status[1].lower() == b"yes"
    else:
        is_spam = result is not None and (result[1] == b"True" or score >= SPAM_SCORE)
    symbols = _SYMBOL.findall(find_first(header, b"x-spamd-result") or b"")[:MOST_SYMBOLS]
    return Verdict(score, is_spam, symbols=tuple(symbol.decode() for symbol in symbols))


def without_forged(raw: bytes, authserv_id: str) -> bytes:
    """Return a message without verdicts of filters and without Authentication-Results that claim to be ours.

    RFC 8601 §5: who the results claim to be of is what counts, and what cannot be read is taken for a claim.
    """
    header = raw[: header_size(raw)]
    lowered = b"\n" + header.lower()
    if not any(sign in lowered for sign in _SIGNS):
        return raw
    kept = []
    body_start = 0
    for field in iter_fields(header):
        body_start = field.end
        if field.name.startswith(_PREFIXES):
            continue
        if field.name == _RESULTS and claims(header[field.value_start : field.end], authserv_id):
            continue
        kept.append(header[field.start : field.end])
    return b"".join((*kept, raw[body_start:]))


def claims(value: bytes, authserv_id: str) -> bool:
    """Return whether results are said to be of `authserv_id`: `[CFWS] authserv-id` (RFC 8601 §2.2)."""
    rest = _behind_comments(value)
    token = _TOKEN.match(rest) if rest is not None else None
    if token is None:
        return True
    name = re.sub(rb"\\(.)", rb"\1", token[1]) if token[1] is not None else token[2]
    return name.decode("utf-8", "replace").rstrip(".").casefold() == authserv_id.rstrip(".").casefold()


def _behind_comments(value: bytes) -> bytes | None:
    """Return what follows comments and blanks; None if a comment does not end."""
    depth = position = 0
    while position < len(value):
        byte = value[position : position + 1]
        if byte == b"\\" and depth:
            position += 1
        elif byte == b"(":
            depth += 1
        elif byte == b")" and depth:
            depth -= 1
        elif not depth and not byte.isspace():
            return value[position:]
        position += 1
    return None
