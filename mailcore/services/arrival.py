"""A message on its way in, and what tells one delivery of it from another."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from functools import cached_property

from bson import ObjectId

from mailcore.message.headers import header_size
from mailcore.model.actor import Actor
from mailcore.services.prepared import PreparedMessage
from mailcore.services.recipient import Recipient


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

    @cached_property
    def header(self) -> bytes:
        """The header with its blank line."""
        return self.raw[: header_size(self.raw)]

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
