"""Marks of origin: the field in what goes out that says, to us alone, who sent it under which queue id.

It comes back in the reports of other services. Its value is sealed under a key of the system, so nobody makes one for
a message that we did not send, and nobody learns from it which addresses are one person's.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final

from bson import ObjectId
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mailcore.message.headers import find_all
from mailcore.model.ids import UserId
from mailcore.model.outbound import QueueId

KEY_NAME: Final = "origin_key"
FIELD: Final = b"X-Eider-Origin"
MOST_MARKS: Final = 4
"""So many of a header are tried."""
_ID_BYTES: Final = 12
_MARK_BYTES: Final = 2 * _ID_BYTES + 16
_PURPOSE: Final = b"origin"


class OriginMarks:
    """Makes marks and knows its own again; no round trip but one for the key at first."""

    def __init__(self, key: Callable[[], bytes]) -> None:
        self._key = key

    def field(self, user_id: UserId, queue_id: QueueId) -> bytes:
        """Return the field, a whole line.

        The queue id is the nonce: it is made of the message and stands for one user, so none seals two values.
        """
        nonce = bytes.fromhex(queue_id)
        mark = nonce + AESGCM(self._key()).encrypt(nonce, user_id.binary, _PURPOSE)
        return FIELD + b": " + base64.urlsafe_b64encode(mark).rstrip(b"=") + b"\r\n"

    def find(self, header: bytes) -> tuple[UserId, QueueId] | None:
        """Return who sent a message under which queue id, by the first mark of ours in its header, or None."""
        for value in find_all(header, FIELD.lower())[:MOST_MARKS]:
            found = self._opened(value.strip())
            if found is not None:
                return found
        return None

    def _opened(self, value: bytes) -> tuple[UserId, QueueId] | None:
        try:
            mark = base64.b64decode(value + b"=" * (-len(value) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if len(mark) != _MARK_BYTES:
            return None
        nonce = mark[:_ID_BYTES]
        try:
            user = AESGCM(self._key()).decrypt(nonce, mark[_ID_BYTES:], _PURPOSE)
        except InvalidTag:
            return None
        return UserId(ObjectId(user)), QueueId(nonce.hex())
