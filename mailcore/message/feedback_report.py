"""Feedback reports: what another service's users say of mail that came to them (RFC 5965, RFC 6650)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mailcore.message.headers import find_all, find_first
from mailcore.message.mime_tree import MimeTree, Part
from mailcore.message.transfer import decode_transfer

MOST_RECIPIENTS: Final = 100
_HEADER_BYTES: Final = 64 * 1024
"""Of the report's fields, and of the header of the message reported, so much is looked at."""


@dataclass(frozen=True, slots=True)
class FeedbackReport:
    """One report.

    Attributes:
        kind: Feedback-Type in lower case: "abuse", "fraud", "not-spam" …
        recipients: Original-Rcpt-To as it was given; services may take out what is left of the @ (RFC 6590).
        reporter: User-Agent, which names the program that made the report.
        header: of the message that it is about, as far as it is there.
    """

    kind: str
    recipients: tuple[str, ...]
    reporter: str
    header: bytes


def read_feedback_report(raw: bytes, tree: MimeTree) -> FeedbackReport | None:
    """Return what a message reports, None if it is no report or lacks one of its three parts (RFC 5965 §2)."""
    root = tree.root
    if not root.is_multipart or root.subtype != "report":
        return None
    if root.parameters.get("report-type", "").lower() != "feedback-report":
        return None
    children = tree.child_indexes(0)
    if len(children) < 3:
        return None
    said = tree.parts[children[1]]
    if (said.type, said.subtype) != ("message", "feedback-report"):
        return None
    fields = _decoded(raw, said)
    header = _header_of_reported(raw, tree, children[2])
    kind = find_first(fields, b"feedback-type")
    if kind is None or not header:
        return None
    named = (_text(value).strip("<>") for value in find_all(fields, b"original-rcpt-to")[:MOST_RECIPIENTS])
    return FeedbackReport(
        _text(kind).lower(), tuple(filter(None, named)), _text(find_first(fields, b"user-agent") or b"")[:200], header
    )


def _header_of_reported(raw: bytes, tree: MimeTree, index: int) -> bytes:
    """Return the header of the third part's message, be it whole or its header alone."""
    part = tree.parts[index]
    if part.is_message:
        (within,) = tree.child_indexes(index)
        message = tree.parts[within]
        return raw[message.header_start : min(message.body_start, message.header_start + _HEADER_BYTES)]
    if (part.type, part.subtype) in {("text", "rfc822-headers"), ("message", "rfc822")}:
        return _decoded(raw, part)
    return b""


def _decoded(raw: bytes, part: Part) -> bytes:
    body = raw[part.body_start : min(part.body_end, part.body_start + _HEADER_BYTES)]
    return decode_transfer(body, part.encoding) or b""


def _text(value: bytes) -> str:
    return " ".join(value.decode("utf-8", "replace").split())
