"""What our own filter found of who sent a message (RFC 8601); others' fields are taken out before."""

from __future__ import annotations

import re
from typing import Final

from mailcore.message.headers import find_all
from mailcore.message.verdict_fields import claims

_METHOD: Final = re.compile(rb"(?:^|[;\s])(spf|dkim|dmarc|arc)\s*=\s*([a-z]{3,12})\b")


def own_results(header: bytes, authserv_id: str) -> list[bytes]:
    """Return the unfolded values of our own Authentication-Results, topmost first."""
    return [value for value in find_all(header, b"authentication-results") if claims(value, authserv_id)]


def is_forged(results: list[bytes]) -> bool:
    """Whether somebody looked, and the sender is not who the message says: then nothing goes back to it."""
    if not results:
        return False
    found = _METHOD.findall(b";".join(results).lower())
    if (b"dmarc", b"pass") in found:
        return False
    return (b"dmarc", b"fail") in found or ((b"spf", b"pass") not in found and any(m == b"spf" for m, _ in found))
