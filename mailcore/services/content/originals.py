"""Messages that others refer to: answered with In-Reply-To and References, forwarded with what they carry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final, TypedDict

from mailcore.errors import MailboxChanged, MailboxNotFound, MessageNotFound, ValueInvalid
from mailcore.message.addresses import HeaderAddress, parse_addresses
from mailcore.message.attachments import Leaf, attachments, leaves
from mailcore.message.composition import MAX_ID_BYTES, MAX_REFERENCES, Attached, taken_over
from mailcore.message.encoded_words import clean, decode_header
from mailcore.message.envelope import message_ids
from mailcore.message.headers import find_first
from mailcore.model.actor import Actor
from mailcore.model.flags import ANSWERED, FlagOperation, FlagSet
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.section import Section, SectionText
from mailcore.model.uid_set import UidSet
from mailcore.services.content.content import ContentStore
from mailcore.services.content.stored_content import Content
from mailcore.services.inbound.arrival import compared
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.messages import Messages

FORWARDED: Final = "$Forwarded"
MOST_RECIPIENTS: Final = 1000


class Following(StrEnum):
    """What a message is to the one that it refers to."""

    REPLY = "reply"
    REPLY_ALL = "replyAll"
    FORWARD = "forward"


@dataclass(frozen=True, slots=True)
class Reference:
    """The message that another follows.

    Attributes:
        attachments: which of its attachments are taken along, by their ids; None: all of what is forwarded,
            none of what is answered.
    """

    mailbox_id: MailboxId
    uid: int
    action: Following
    attachments: bool | tuple[str, ...] | None = None


class Answering(TypedDict):
    """What follows from a reference, where the author has not said otherwise."""

    to: Sequence[HeaderAddress]
    cc: Sequence[HeaderAddress]
    subject: str
    in_reply_to: bytes
    references: Sequence[bytes]


class Original:
    """A message that is referred to."""

    def __init__(self, reference: Reference, content: Content) -> None:
        self._reference = reference
        self._content = content
        self._header = content.header_bytes()

    def answered(self, given: Answering, own: str) -> Answering:
        """Return what the answer says; what was given counts (RFC 5322 §3.6.3, §3.6.4)."""
        found = given.copy()
        if self._reference.action is not Following.FORWARD and not given["to"] and not given["cc"]:
            found["to"], found["cc"] = self._recipients(own)
        if not given["subject"]:
            found["subject"] = self._subject()
        parents = [one for one in message_ids(self._header, b"message-id")[:1] if _is_id(one)]
        if parents:
            before = message_ids(self._header, b"references") or message_ids(self._header, b"in-reply-to")[:1]
            before = [one for one in before if _is_id(one) and one not in parents]
            found["in_reply_to"] = parents[0]
            found["references"] = [*before[:1], *before[1:][-(MAX_REFERENCES - 2) :], *parents]
        return found

    def carried(self) -> Iterator[Attached]:
        """Yield the attachments that are taken along, in the bytes in which they lie there.

        Raises:
            ValueInvalid: one is not there.
        """
        wanted = self._reference.attachments
        if wanted is None:
            wanted = self._reference.action is Following.FORWARD
        if wanted is False:
            return
        listed = dict(attachments(leaves(self._content.body_structure)))
        for name in listed if wanted is True else wanted:
            if name not in listed:
                raise ValueInvalid(f"reference.attachments: the message has no attachment {name[:20]}")
            yield self._taken_over(listed[name])

    def _taken_over(self, leaf: Leaf) -> Attached:
        parts = self._content.parts
        mime = parts.locate(Section(leaf.part_number, SectionText.MIME))
        body = parts.locate(Section(leaf.part_number))
        if mime is None or body is None:
            raise ValueInvalid("reference: this message cannot be taken apart")
        header = b"".join(self._content.read(*mime))
        is_inline = leaf.is_related and bool(leaf.content_id)
        return taken_over(header, partial(self._content.read, *body), is_inline=is_inline)

    def _recipients(self, own: str) -> tuple[Sequence[HeaderAddress], Sequence[HeaderAddress]]:
        """Return to whom an answer goes: not to oneself, but for a message that one wrote oneself."""
        authors = self._people(b"reply-to") or self._people(b"from")
        if self._reference.action is Following.REPLY:
            return authors, ()
        known = {compared(own)}
        to = [*authors, *self._people(b"to")]
        kept = [[one for one in each if _is_new(one.address, known)] for each in (to, self._people(b"cc"))]
        return kept[0] or authors, kept[1]

    def _people(self, name: bytes) -> list[HeaderAddress]:
        return parse_addresses(find_first(self._header, name) or b"")[:MOST_RECIPIENTS]

    def _subject(self) -> str:
        prefix = "Fwd:" if self._reference.action is Following.FORWARD else "Re:"
        text = " ".join(clean(decode_header(find_first(self._header, b"subject") or b"")).split())
        return text if text.lower().startswith(prefix.lower()) else f"{prefix} {text}".strip()


class Originals:
    """Finds what is referred to, and marks it."""

    def __init__(self, mailboxes: Mailboxes, content: ContentStore, messages: Messages) -> None:
        self._mailboxes = mailboxes
        self._content = content
        self._messages = messages

    def open(self, user_id: UserId, reference: Reference) -> Original:
        """Return the message; two small round trips where its mailbox is in memory.

        Raises:
            MailboxNotFound, MessageNotFound: it is not there.
        """
        try:
            view = self._mailboxes.refresh(user_id, reference.mailbox_id)
        except MailboxChanged:
            raise MailboxNotFound(reference.mailbox_id) from None
        row = view.row_of(reference.uid)
        if row < 0:
            raise MessageNotFound(reference.uid)
        return Original(reference, self._content.open(user_id, view.message_oid(row), structured=True))

    def mark(self, actor: Actor, user_id: UserId, reference: Reference) -> None:
        r"""Say of a message that it was answered (\Answered), or sent on ($Forwarded).

        Raises:
            MailboxChanged: it is gone.
            TooManyKeywords, MailboxBusy, StoreUnavailable: not marked.
        """
        flags = FlagSet(ANSWERED)
        if reference.action is Following.FORWARD:
            flags = FlagSet(0, (FORWARDED,))
        uids = UidSet(((reference.uid, reference.uid),))
        self._messages.store(user_id, actor, reference.mailbox_id, uids, FlagOperation.ADD, flags)


def _is_id(found: bytes) -> bool:
    return len(found) <= MAX_ID_BYTES and found.isascii() and all(0x20 < byte < 0x7F for byte in found)


def _is_new(address: str, known: set[str]) -> bool:
    form = compared(address)
    if form in known:
        return False
    known.add(form)
    return True
