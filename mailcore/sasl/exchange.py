"""One run of a mechanism, and the base64 lines in which protocols carry it."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Generator
from typing import TypeVar

from mailcore.errors import SyntaxFault
from mailcore.sasl.mechanisms import Mechanism
from mailcore.sasl.offer import Offer

MAX_LINE_BYTES = 8192
"""Of base64; what a protocol reads before login is no longer either."""
MAX_STEPS = 4

Asked = TypeVar("Asked")


class Exchange:
    """Challenges and responses of one mechanism until there is an offer."""

    __slots__ = ("_offer", "_steps", "_taken", "mechanism")

    def __init__(self, mechanism: Mechanism) -> None:
        self.mechanism = mechanism
        self._steps = mechanism.steps()
        self._offer: Offer | None = None
        self._taken = 0

    def begin(self, initial_response: bytes | None = None) -> bytes | None:
        """Return the first challenge, None if the client's first response was all that it takes.

        Raises:
            SyntaxFault: the response is not one of this mechanism.
        """
        challenge = next(self._steps)
        return challenge if initial_response is None else self.step(initial_response)

    def step(self, response: bytes) -> bytes | None:
        """Take a response; return the next challenge, None when there is an offer.

        Raises:
            SyntaxFault: the response is not one of this mechanism.
        """
        self._taken += 1
        if self._taken > MAX_STEPS:
            raise SyntaxFault("Too many responses")
        try:
            return self._steps.send(response)
        except StopIteration as done:
            self._offer = done.value
            return None

    @property
    def offer(self) -> Offer:
        """What the client offers; there is one once `begin` or `step` returned None."""
        assert self._offer is not None
        return self._offer


def negotiate(
    mechanism: Mechanism, line: bytes | None, ask: Callable[[bytes], Asked]
) -> Generator[Asked, bytes, Offer | None]:
    """Carry challenges and responses until there is an offer; None if the client cancels.

    Args:
        mechanism: what the client chose.
        line: its first response, None where it sent none along.
        ask: makes of a challenge's line what is yielded; the client's line is to be sent for it.

    Raises:
        SyntaxFault: a response is not base64, too long, or not one of this mechanism.
    """
    exchange = Exchange(mechanism)
    response = read_line(line) if line is not None else None
    if line is not None and response is None:
        return None
    challenge = exchange.begin(response)
    while challenge is not None:
        response = read_line((yield ask(write_line(challenge))))
        if response is None:
            return None
        challenge = exchange.step(response)
    return exchange.offer


def read_line(line: bytes) -> bytes | None:
    """Return what a line holds, None if it cancels the exchange; `=` alone is an empty response (RFC 4959 §3).

    Raises:
        SyntaxFault: not base64, or too long.
    """
    if line == b"*":
        return None
    if line == b"=":
        return b""
    if len(line) > MAX_LINE_BYTES:
        raise SyntaxFault("Response is too long")
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error:
        raise SyntaxFault("Response is not base64") from None


def write_line(challenge: bytes) -> bytes:
    """Return a challenge as a line."""
    return binascii.b2a_base64(challenge, newline=False)
