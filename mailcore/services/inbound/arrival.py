"""A message on its way in, and what tells one delivery of it from another."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from functools import cached_property

from bson import ObjectId

from mailcore.errors import AddressInvalid
from mailcore.message.addresses import parse_addresses
from mailcore.message.automatic import forbids_answers, named_recipients
from mailcore.message.headers import find_all, header_size
from mailcore.model.actor import Actor
from mailcore.model.address import canonical
from mailcore.model.verdict import Verdict
from mailcore.services.addresses.recipient import Recipient
from mailcore.services.content.prepared import PreparedMessage
from mailcore.sieve import MessageView

LOOP_MARK = b"x-eider-loop"
"""Lower-case name of the field that tells through which address mail was sent on."""


@dataclass(frozen=True)
class Arrival:
    """One message for however many recipients; what is read out of it is read once for all of them."""

    raw: bytes = field(repr=False)
    """As it arrived, without trace headers of this hop."""
    prepared: PreparedMessage = field(repr=False)
    reverse_path: str
    """"" is the null reverse-path."""
    ident: str | None
    """The sending agent's queue id: the same when it tries again."""
    actor: Actor
    verdict: Verdict | None = None
    """What the spam filter said; None: nobody looked."""

    @cached_property
    def header(self) -> bytes:
        """The header with its blank line."""
        return self.raw[: header_size(self.raw)]

    @cached_property
    def view(self) -> MessageView:
        """As programs see it; what one has decoded the others need not."""
        return MessageView(self.raw, self.prepared.tree)

    @cached_property
    def sender_domains(self) -> tuple[str, ...]:
        """The domains that From and the reverse-path name, each once."""
        authors = [each.address for value in find_all(self.header, b"from") for each in parse_addresses(value)]
        named = (address.rpartition("@")[2].lower() for address in (*authors, self.reverse_path))
        return tuple(dict.fromkeys(domain for domain in named if domain))

    @cached_property
    def forbids_answers(self) -> str | None:
        """Why nothing may answer by itself, or None."""
        return forbids_answers(self.header)

    @cached_property
    def named(self) -> frozenset[str]:
        """Whom To, Cc and their kin name, in the form in which addresses are compared."""
        return frozenset(map(compared, named_recipients(self.header)))

    @cached_property
    def hops(self) -> int:
        """How many servers it says it came through."""
        return len(find_all(self.header, b"received"))

    @cached_property
    def passed(self) -> frozenset[str]:
        """The addresses it came through, by our own mark or by anybody's Delivered-To, in compared form."""
        marks = (value.partition(b";")[0] for value in find_all(self.header, LOOP_MARK))
        through = [*marks, *find_all(self.header, b"delivered-to")]
        return frozenset(compared(value.decode("utf-8", "replace").strip()) for value in through)

    def with_header(self, header: bytes) -> bytes:
        """Return the message under another header, which ends with its blank line."""
        return header + self.raw[len(self.header) :]

    def copy_id(self, recipient: Recipient, repeat: int = 0, number: int = 0) -> bytes | None:
        """Return the id of a recipient's copy, the same for each try of a delivery, so that it finds what went before.

        None where the agent did not name the message: then nobody can tell a repeat from another message.

        Args:
            recipient: for whom.
            repeat: so many ids were found used up by tries that were cut off.
            number: of the recipient's copies, from 0.
        """
        if self.ident is None:
            return None
        words = [self.ident, recipient.address.casefold(), str(repeat)]
        if number:
            words.append(str(number))
        what = "\0".join(words).encode() + self.prepared.raw_sha256
        return hmac.digest(recipient.user_id.binary, what, "sha256")[:12]

    def key(self, recipient: Recipient, number: int = 0) -> bytes:
        """Return 12 bytes that stand for a recipient's copy; what follows from a delivery is keyed by the first's."""
        return self.copy_id(recipient, 0, number) or ObjectId().binary


def compared(address: str) -> str:
    """Return the form in which addresses are compared: dots, case and label aside where it could be one of ours."""
    try:
        return canonical(address)
    except AddressInvalid:
        return address.casefold()
