"""What one user may do with another's mailbox (RFC 4314 §2.1)."""

from __future__ import annotations

from enum import Flag

from mailcore.errors import ValueInvalid


class Right(Flag):
    """Rights; a set of them is one value."""

    NONE = 0
    LOOKUP = 1
    READ = 2
    SEEN = 4
    WRITE = 8
    INSERT = 16
    POST = 32
    CREATE = 64
    DELETE_MAILBOX = 128
    DELETE_MESSAGES = 256
    EXPUNGE = 512
    ADMINISTER = 1024


LETTERS: dict[str, Right] = {
    "l": Right.LOOKUP,
    "r": Right.READ,
    "s": Right.SEEN,
    "w": Right.WRITE,
    "i": Right.INSERT,
    "p": Right.POST,
    "k": Right.CREATE,
    "x": Right.DELETE_MAILBOX,
    "t": Right.DELETE_MESSAGES,
    "e": Right.EXPUNGE,
    "a": Right.ADMINISTER,
}
OLD_LETTERS: dict[str, Right] = {
    "c": Right.CREATE | Right.DELETE_MAILBOX,
    "d": Right.DELETE_MESSAGES | Right.EXPUNGE,
}
"""Of RFC 2086: set together, and shown where one of them is held (RFC 4314 §2.1.1)."""
ALL_RIGHTS = Right(2047)
FLAG_RIGHTS = Right.SEEN | Right.WRITE | Right.DELETE_MESSAGES
SHOWN_BY = Right.LOOKUP | Right.READ | Right.INSERT | Right.CREATE | Right.DELETE_MAILBOX | Right.ADMINISTER
"""Who has any of these may ask for the own rights (MYRIGHTS, RFC 4314 §4)."""


def parse_rights(letters: str) -> Right:
    """Return the rights that letters stand for.

    Raises:
        ValueInvalid: an unknown letter, or a capital.
    """
    rights = Right.NONE
    for letter in letters:
        found = LETTERS.get(letter) or OLD_LETTERS.get(letter)
        if found is None:
            raise ValueInvalid("right", letter)
        rights |= found
    return rights


def stored_letters(rights: Right) -> str:
    """Return the letters of rights, in their order."""
    return "".join(letter for letter, right in LETTERS.items() if right in rights)


def shown_letters(rights: Right) -> str:
    """Return them with those of RFC 2086, for older clients."""
    return stored_letters(rights) + "".join(letter for letter, right in OLD_LETTERS.items() if right & rights)
