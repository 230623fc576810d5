"""Where somebody is sent after signing in: only to a path of ours."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

_PATH: Final = re.compile(
    r"(?:/[A-Za-z0-9_~!$&'()*+,;=:@%-][A-Za-z0-9._~!$&'()*+,;=:@%-]*)*/?(?:\?[^\\\x00-\x20\x7f]*)?", re.ASCII
)
"""Segments that are not empty and begin with no dot, then perhaps a query."""
_ROUNDS: Final = 4
"""Nobody encodes an honest path more often."""


def local_path(text: str | None) -> str | None:
    """Return the path and query if that is all it is, however often it is unquoted; else None."""
    if not text or len(text) > 2000 or not text.startswith("/") or not text.isascii():
        return None
    shown = text
    for _ in range(_ROUNDS):
        if _PATH.fullmatch(_without_letters(shown)) is None:
            return None
        decoded = unquote(shown)
        if decoded == shown:
            return text
        shown = decoded
    return None


def _without_letters(shown: str) -> str:
    """Return it with an `x` for each letter beyond ASCII: those are paths of people's names."""
    return "".join(character if character.isascii() else "x" for character in shown)
