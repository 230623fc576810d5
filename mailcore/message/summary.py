"""What a list of messages shows of each, as a JSON object without the flags and numbers of its copy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from mailcore.message.addresses import parse_addresses
from mailcore.message.attachments import Leaf, attachments, leaves
from mailcore.message.dates import header_date
from mailcore.message.encoded_words import decode_header
from mailcore.message.envelope import message_ids
from mailcore.message.headers import first_values, names_pattern
from mailcore.message.parameters import parse_parameterized

INTRO_CHARACTERS: Final = 128
MAX_ADDRESSES: Final = 200
MAX_REFERENCES: Final = 50
MAX_LISTED: Final = 100
"""More addresses, references and attachments of a message are not listed."""
_NAMES: Final = names_pattern((b"from", b"to", b"cc", b"bcc", b"subject", b"content-type", b"reply-to"))


def summary(header: bytes, body_structure: bytes, preview: str) -> dict[str, Any]:
    """Return the object; a message without a From has no sender."""
    return summary_of_parts(header, leaves(body_structure), preview)


def summary_of_parts(header: bytes, parts: list[Leaf], preview: str) -> dict[str, Any]:
    """Return the same of a message whose parts are read already."""
    values = first_values(header, _NAMES)
    senders = people(values.get(b"from"))
    identifiers = message_ids(header, b"message-id")
    listed = list(attachments(parts))[:MAX_LISTED]
    return {
        "from": senders[0] if senders else {"name": "", "address": ""},
        "to": people(values.get(b"to")),
        "cc": people(values.get(b"cc")),
        "bcc": people(values.get(b"bcc")),
        "messageId": _ascii(identifiers[0]) if identifiers else "",
        "subject": decode_header(values.get(b"subject", b"")),
        "date": instant(header_date(header)),
        "intro": preview[:INTRO_CHARACTERS],
        "attachments": any(not leaf.is_related or leaf.disposition == "attachment" for _, leaf in listed),
        "attachmentsList": [attachment(name, leaf) for name, leaf in listed],
        "references": [_ascii(one) for one in message_ids(header, b"references")[-MAX_REFERENCES:]],
        "contentType": content_type(values.get(b"content-type")),
        "encrypted": _is_encrypted(values.get(b"content-type")),
    }


def people(value: bytes | None) -> list[dict[str, str]]:
    """Return the addresses of a field."""
    if not value:
        return []
    return [{"name": each.name, "address": each.address} for each in parse_addresses(value)[:MAX_ADDRESSES]]


def attachment(name: str, leaf: Leaf) -> dict[str, Any]:
    """Return an attachment as it is listed; sizes are of what is decoded, as near as can be told without it."""
    size = leaf.size_bytes * 3 // 4 if leaf.encoding == "base64" else leaf.size_bytes
    return {
        "id": name,
        "filename": leaf.filename,
        "contentType": leaf.content_type,
        "disposition": leaf.disposition or "attachment",
        "transferEncoding": leaf.encoding,
        "related": leaf.is_related,
        "sizeKb": -(-size // 1024),
        "size": size,
    }


def content_type(value: bytes | None) -> dict[str, Any]:
    """Return the type of the whole message with its parameters."""
    if not value:
        return {"value": "text/plain", "params": {}}
    parsed = parse_parameterized(value)
    return {"value": parsed.token, "params": dict(parsed.parameters)}


def instant(seconds: int | None) -> str | None:
    """Return seconds since 1970 as JavaScript writes an instant; None where JavaScript cannot."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    except (OverflowError, ValueError, OSError):
        return None


def _is_encrypted(value: bytes | None) -> bool:
    return value is not None and value.lstrip().lower().startswith((b"multipart/encrypted", b"application/pkcs7-mime"))


def _ascii(identifier: bytes) -> str:
    return identifier.decode("utf-8", "replace")
