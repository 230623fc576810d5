"""Where somebody is sent after signing in: only to a path of ours."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

_PATH: Final = re.compile(r"/(?![/\\])[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*", re.ASCII)
_ROUNDS: Final = 4
"""Nobody encodes an honest path more often."""


def local_path(text: str | None) -> str | None:
    """Return the path and query if that is all it is, however often it is unquoted; else None."""
    if not text or len(text) > 2000:
        return None
    shown = text
    for _ in range(_ROUNDS):
        if _PATH.fullmatch(shown) is None or "/\\" in shown or shown.startswith("//"):
            return None
        decoded = unquote(shown)
        if decoded == shown:
            return text
        shown = decoded
        if any(ord(character) < 0x20 or character in "\\\x7f" for character in shown) or shown.startswith("//"):
            return None
        shown = "".join(
            character if character.isascii() and character not in ' "<>#[]^`{|}' else "_" for character in shown
        )
    return None
