"""The sender of a message: what the header claims, held against who signed in; refused or rewritten."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.header import Header

from mailcore.errors import SenderNotOwned
from mailcore.message.addresses import HeaderAddress
from mailcore.message.outgoing import HeaderField, Outgoing
from mailcore.model.ids import UserId
from mailcore.model.sending import ForeignSender
from mailcore.services.outbound.identities import Identities

ORIGINAL_FROM = b"x-original-from"

_BETWEEN_WORDS = re.compile(r"[\s\"'<>()\[\]:;,]+")
_FULLWIDTH_AT = str.maketrans({"\uff20": "@", "\ufe6b": "@", "\u2024": ".", "\uff0e": "."})
_NEEDS_NO_QUOTES = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")


def checked_header(
    outgoing: Outgoing, identities: Identities, user_id: UserId, main: str, policy: ForeignSender
) -> Outgoing:
    """Return the message with a sender that is the user's, in every field that says who sends.

    A display name that is itself an address counts like one: that is what people read. Without From the user's
    main address is put there.

    Raises:
        MessageMalformed: a field can be read in more than one way.
        SenderNotOwned: the user may not send as what a field says, and the tenant has such mail refused.
        StoreUnavailable: not known now.
    """
    claimed = [(field, mailboxes) for field, mailboxes in outgoing.mailboxes()]
    said = {text for _, mailboxes in claimed for mailbox in mailboxes for text in _addresses(mailbox)}
    foreign = set(identities.foreign(user_id, main, said)) if said else set()
    changes: dict[HeaderField, bytes] = {}
    added = b""
    for field, mailboxes in claimed:
        wrong = [text for mailbox in mailboxes for text in _addresses(mailbox) if text in foreign]
        if not wrong:
            continue
        if policy is ForeignSender.REFUSE:
            raise SenderNotOwned(wrong[0], field.name.decode().title())
        name = mailboxes[0].name if not _in_name(mailboxes[0].name) else ""
        changes[field] = b"" if field.name.endswith(b"sender") else _mailbox_field(field.name, name, main)
        if field.name == b"from":
            added = b"X-Original-From:" + field.raw.partition(b":")[2]
    changed = outgoing.replaced(changes) if changes else outgoing
    if added:
        changed = changed.without((ORIGINAL_FROM,))
        changed = Outgoing((*changed.fields, HeaderField(ORIGINAL_FROM, added)), changed.body)
    if changed.first(b"from") is None:
        changed = changed.with_fields(_mailbox_field(b"from", "", main))
    return changed


def _addresses(mailbox: HeaderAddress) -> Sequence[str]:
    """Return what a mailbox says: its address, and those that its name pretends to be."""
    return (mailbox.address, *_in_name(mailbox.name))


def _in_name(name: str) -> list[str]:
    """Return the words of a name that look like addresses: something, an "@", and a domain with a dot."""
    words = _BETWEEN_WORDS.split(name.translate(_FULLWIDTH_AT))
    parts = ((word, *word.rpartition("@")) for word in words if "@" in word)
    return [word for word, local, _, domain in parts if local and "." in domain.strip(".")]


def _mailbox_field(name: bytes, display: str, address: str) -> bytes:
    """Return a field with one mailbox; names beyond ASCII are raw UTF-8, as the address may be (RFC 6532)."""
    title = name.decode().title()
    if not display:
        return f"{title}: {address}\r\n".encode()
    escaped = display if _NEEDS_NO_QUOTES.fullmatch(display) else '"' + re.sub(r'(["\\])', r"\\\1", display) + '"'
    return f"{title}: {_encoded(escaped, display)} <{address}>\r\n".encode()


def _encoded(quoted: str, display: str) -> str:
    """Return the phrase, as encoded words where it is not ASCII (RFC 2047 §5)."""
    if display.isascii():
        return quoted
    return Header(display, "utf-8", maxlinelen=200).encode(linesep="\r\n")
