"""The two forms in which Postfix asks: netstrings of its socketmap, and attributes of its policy protocol.

A netstring is `length ":" bytes ","`, so it begins with a digit; a policy request is lines of `name=value` up to an
empty one and begins with `request=`. Both may come on one connection, and each is answered in its own form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mailcore.errors import SyntaxFault

MAX_REQUEST_BYTES = 2048
"""Of a map's name, a space and a key; no address comes near it."""
MAX_POLICY_BYTES = 16 * 1024
"""Of all attributes of one request; Postfix sends a few dozen short ones."""
_MAX_DIGITS = len(str(MAX_REQUEST_BYTES))
_POLICY = b"request=smtpd_access_policy\n"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a key, in a map."""

    map_name: str
    key: str


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """What is asked of a recipient, together with the sender."""

    recipient: str
    sender: str
    """Empty is the null reverse-path."""


class QuestionReader:
    """Reads questions out of input cut anywhere; holds no more than one of them."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    @property
    def is_within(self) -> bool:
        """Whether the beginning of a question has come, and not its end."""
        return bool(self._held)

    def feed(self, data: bytes) -> Iterator[Question | PolicyRequest]:
        """Yield each question that is complete.

        Raises:
            SyntaxFault: neither form, or too long; what follows cannot be read.
        """
        data = self._held + data
        position = 0
        while position < len(data):
            take = _take_netstring if data[position : position + 1].isdigit() else _take_policy
            taken = take(data, position)
            if taken is None:
                break
            question, position = taken
            yield question
        self._held = data[position:]


def _take_netstring(data: bytes, position: int) -> tuple[Question, int] | None:
    """Return the question at a position and where it ends, None if its end has not come."""
    colon = data.find(b":", position, position + _MAX_DIGITS + 1)
    if colon < 0:
        _check_digits(data[position : position + _MAX_DIGITS + 1])
        return None
    end = colon + 1 + _check_digits(data[position:colon])
    if len(data) <= end:
        return None
    if data[end : end + 1] != b",":
        raise SyntaxFault("no comma behind a netstring")
    return _question(data[colon + 1 : end]), end + 1


def _take_policy(data: bytes, position: int) -> tuple[PolicyRequest, int] | None:
    """Return the request at a position and where it ends, None if its end has not come."""
    start = data[position : position + len(_POLICY)]
    if not _POLICY.startswith(start):
        raise SyntaxFault("neither a netstring nor a policy request")
    end = data.find(b"\n\n", position, position + MAX_POLICY_BYTES)
    if end < 0:
        if len(data) - position >= MAX_POLICY_BYTES:
            raise SyntaxFault("a policy request that is too long")
        return None
    lines = data[position:end].decode("utf-8", "replace").split("\n")
    attributes = dict(line.partition("=")[::2] for line in lines)
    return PolicyRequest(attributes.get("recipient", ""), attributes.get("sender", "")), end + 2


def answer(text: str) -> bytes:
    """Return an answer as a netstring."""
    content = text.encode("utf-8", "replace")
    return b"%d:%s," % (len(content), content)


def policy_answer(action: str) -> bytes:
    """Return the answer to a policy request: an action of access(5)."""
    return f"action={action}\n\n".encode("utf-8", "replace")


def _check_digits(digits: bytes) -> int:
    """Return the length that digits name.

    Raises:
        SyntaxFault: other characters, a needless zero, or more than a question may have.
    """
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
