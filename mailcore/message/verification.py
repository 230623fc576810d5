"""What was verified of a message on its way in, out of fields that only our own servers write (RFC 8601)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mailcore.message.authentication_results import own_results
from mailcore.message.headers import find_all

_METHOD: Final = re.compile(rb"(?:^|;)\s*(spf|dkim|dmarc)\s*=\s*([a-z]+)\b([^;]*)", re.IGNORECASE)
_PROPERTY: Final = {
    b"spf": re.compile(rb"\bsmtp\.(?:mailfrom|helo)\s*=\s*\"?(?:[^\s;\"@]*@)?([A-Za-z0-9.-]{1,253})"),
    b"dkim": re.compile(rb"\bheader\.[di]\s*=\s*\"?(?:[^\s;\"@]*@)?([A-Za-z0-9.-]{1,253})"),
    b"dmarc": re.compile(rb"\bheader\.from\s*=\s*\"?([A-Za-z0-9.-]{1,253})"),
}
_POLICY: Final = re.compile(rb"\b(?:policy(?:\.[a-z]+)?|p)\s*=\s*(none|quarantine|reject)\b", re.IGNORECASE)
_TLS: Final = re.compile(rb"\(using (TLSv?[0-9.]{1,6}) with cipher ([A-Za-z0-9_-]{1,60})\b")
HOPS: Final = 2
"""The topmost Received fields that are ours: of the storage, and of the transfer agent in front of it."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What held; a domain where it did, None where it did not.

    Attributes:
        tls: version and cipher of the connection that brought it.
        policy: what the author's domain asks for; "" where DMARC said nothing.
    """

    tls: tuple[str, str] | None
    spf: str | None
    dkim: str | None
    dmarc: str | None
    policy: str


def verification(header: bytes, authserv_id: str) -> Verification | None:
    """Return what our own filter found, None if it did not look."""
    results = own_results(header, authserv_id)
    if not results:
        return None
    passed: dict[bytes, str] = {}
    policy = ""
    for method, result, rest in _METHOD.findall(b";".join(results)):
        method = method.lower()
        found = _PROPERTY[method].search(rest)
        if result.lower() == b"pass" and found:
            passed.setdefault(method, found[1].decode())
        asked = _POLICY.search(rest)
        if method == b"dmarc" and asked:
            policy = asked[1].decode().lower()
    lines = [_TLS.search(line) for line in find_all(header, b"received")[:HOPS]]
    tls = next(((line[1].decode(), line[2].decode()) for line in lines if line), None)
    return Verification(tls, passed.get(b"spf"), passed.get(b"dkim"), passed.get(b"dmarc"), policy)
