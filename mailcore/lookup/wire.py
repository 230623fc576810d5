"""Netstrings, in which Postfix asks and is answered: `length ":" bytes ","`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mailcore.errors import SyntaxFault

MAX_REQUEST_BYTES = 2048
"""Of a map's name, a space and a key; no address comes near it."""
_MAX_DIGITS = len(str(MAX_REQUEST_BYTES))


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a key, in a map."""

    map_name: str
    key: str


class QuestionReader:
    """Reads questions out of input cut anywhere; holds no more than one of them."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    @property
    def is_within(self) -> bool:
        """Whether the beginning of a question has come, and not its end."""
        return bool(self._held)

    def feed(self, data: bytes) -> Iterator[Question]:
        """Yield each question that is complete.

        Raises:
            SyntaxFault: no netstring, one that is too long, or no question in it; what follows cannot be read.
        """
        data = self._held + data
        position = 0
        while True:
            colon = data.find(b":", position, position + _MAX_DIGITS + 1)
            if colon < 0:
                _check_digits(data[position : position + _MAX_DIGITS + 1], is_whole=False)
                break
            size = _check_digits(data[position:colon], is_whole=True)
            end = colon + 1 + size
            if len(data) <= end:
                break
            if data[end : end + 1] != b",":
                raise SyntaxFault("no comma behind a netstring")
            position = end + 1
            yield _question(data[colon + 1 : end])
        self._held = data[position:]


def answer(text: str) -> bytes:
    """Return an answer as a netstring."""
    content = text.encode("utf-8", "replace")
    return b"%d:%s," % (len(content), content)


def _check_digits(digits: bytes, *, is_whole: bool) -> int:
    """Return the length that digits name.

    Raises:
        SyntaxFault: other characters, a needless zero, or more than a question may have.
    """
    if not digits and not is_whole:
        return 0
    if not digits.isdigit() or (len(digits) > 1 and digits.startswith(b"0")) or len(digits) > _MAX_DIGITS:
        raise SyntaxFault("not the length of a netstring")
    size = int(digits)
    if size > MAX_REQUEST_BYTES:
        raise SyntaxFault("a question that is too long")
    return size


def _question(content: bytes) -> Question:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise SyntaxFault("not UTF-8") from None
    name, space, key = text.partition(" ")
    if not space or not name:
        raise SyntaxFault("no map and key")
    return Question(name, key)
