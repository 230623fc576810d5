"""Pictures that an HTML text holds as `data:` links (RFC 2397): most readers show none, so they become parts."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

MOST: Final = 100
_LINK: Final = re.compile(
    r"""(\bsrc\s*=\s*["'])data:(image/(?:png|jpe?g|gif|webp|bmp|svg\+xml|avif));base64,([A-Za-z0-9+/=\s]+)(?=["'])""",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, and the Content-ID by which the text shows it."""

    content_id: str
    content_type: str
    filename: str
    data: bytes = field(repr=False)


def pictures_apart(html: str) -> tuple[str, list[Picture]]:
    """Return the text with `cid:` links in place of pictures, and the pictures; what is no base64 stays."""
    found: list[Picture] = []

    def replaced(match: re.Match[str]) -> str:
        if len(found) >= MOST:
            return match[0]
        try:
            data = base64.b64decode("".join(match[3].split()), validate=True)
        except (binascii.Error, ValueError):
            return match[0]
        kind = match[2].lower()
        name = f"image{len(found) + 1}.{kind.partition('/')[2].partition('+')[0]}"
        picture = Picture(f"{secrets.token_hex(12)}@inline", kind, name, data)
        found.append(picture)
        return f"{match[1]}cid:{picture.content_id}"

    return (_LINK.sub(replaced, html) if "data:" in html else html), found
