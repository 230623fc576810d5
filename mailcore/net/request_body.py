"""What is left of a request's body once it is answered: a little is read, so that the answer is seen; not all of it."""

from __future__ import annotations

from typing import Final

import gevent
from gevent.pywsgi import Input

KEPT_BYTES: Final = 64 * 1024
"""A connection goes on after a body of which no more than this is left."""
DRAIN_BYTES: Final = 128 << 20
"""Many clients look for an answer only when all is sent: whoever sends somewhat too much sees what is wrong."""
DRAIN_S: Final = 10.0
PIECE_BYTES: Final = 64 * 1024


class RequestBody(Input):  # type: ignore[misc]
    """The body of one request, as an application reads it."""

    def __init__(self, whole: Input) -> None:
        """Take the place of gevent's own, of which nothing was read yet."""
        super().__init__(whole.rfile, whole.content_length, whole.socket, whole.chunked_input)

    @property
    def is_over(self) -> bool:
        """Whether all of it was read."""
        if self.chunked_input:
            return bool(self.chunk_length == 0 and not self._chunked_input_error)
        return bool(self.position >= (self.content_length or 0))

    @property
    def is_short(self) -> bool:
        """Whether what is left is known, little, and on its way."""
        if self.is_over:
            return True
        is_awaited = self.socket is not None  # no "100 Continue" was sent: it may never come
        return not self.chunked_input and not is_awaited and self.content_length - self.position <= KEPT_BYTES

    def _discard(self) -> None:
        """Read what is left up to a bound (RFC 9112 §9.6); gevent calls it once the answer is sent."""
        if self._chunked_input_error or self.socket is not None:
            return
        left = DRAIN_BYTES
        with gevent.Timeout(DRAIN_S, False):
            while not self.is_over and left > 0:
                left -= len(self.read(min(PIECE_BYTES, left)))
