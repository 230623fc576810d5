"""What a list of messages shows at a glance: preview (RFC 8970) and whether there are attachments."""

from __future__ import annotations

import re

from mailcore.message.mime_tree import MimeTree, Part, PartKind
from mailcore.message.text import is_encrypted, part_text
from mailcore.model.octets import Octets

PREVIEW_CHARACTERS = 200
"""RFC 8970 §3.1 asks for no more."""

_MARKUP = 2
"""Entities make the source longer than the text."""
_SCANNED_BYTES = (320, 4096)
"""So much text is looked at; the second, where the first is mostly padding."""
_INVISIBLE = re.compile(r"[\u200b-\u200f\u202a-\u202e\u034f\u00ad\u2060-\u2064\ufeff\x00-\x08\x0e-\x1b\x7f]+")
_SIGNATURES = frozenset({"pgp-signature", "pkcs7-signature", "x-pkcs7-signature"})


def preview(raw: Octets, tree: MimeTree) -> str:
    """The beginning of the first readable text, on one line; empty where there is none or it is encrypted."""
    if is_encrypted(tree):
        return ""
    texts = [part for part in tree.parts[:100] if part.kind is PartKind.LEAF and part.type == "text"]
    texts = [part for part in texts if part.disposition != "attachment" and part.size]
    for part in sorted(texts, key=_html_last):
        for scanned_bytes in _SCANNED_BYTES:
            text = _beginning(part_text(raw, part, scanned_bytes, markup=_MARKUP))
            if len(text) >= PREVIEW_CHARACTERS or part.size < scanned_bytes:
                break
        if text:
            return text[:PREVIEW_CHARACTERS].rstrip()
    return ""


def _beginning(text: str) -> str:
    """Return the first words of a text without what cannot be seen."""
    if not text.isascii():  # newsletters pad with invisible characters
        text = _INVISIBLE.sub("", text)
    words = text.split(None, PREVIEW_CHARACTERS // 2 + 1)[: PREVIEW_CHARACTERS // 2 + 1]
    return _INVISIBLE.sub("", " ".join(words)[: 2 * PREVIEW_CHARACTERS])


def has_attachment(tree: MimeTree) -> bool:
    """Whether there is something to save: not signatures, nor what a text shows inline by its Content-ID."""
    return any(_is_attachment(tree, part) for part in tree.parts)


def _html_last(part: Part) -> bool:
    return part.subtype == "html"


def _is_attachment(tree: MimeTree, part: Part) -> bool:
    if part.kind is PartKind.MULTIPART or part.subtype in _SIGNATURES:
        return False
    if part.disposition == "attachment":
        return True
    around = tree.parts[part.parent] if part.parent >= 0 else None
    if part.kind is PartKind.MESSAGE:
        return around is not None and around.subtype not in {"digest", "report"}
    if part.type in {"text", "message"}:
        return part.filename is not None
    inline = part.disposition == "inline" or (around is not None and around.subtype == "related")
    if inline and part.content_id is not None:
        return False
    return not (around is not None and around.subtype in {"encrypted", "report"})
