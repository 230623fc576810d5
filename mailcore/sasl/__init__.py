"""SASL (RFC 4422) as every protocol's AUTHENTICATE and AUTH speak it: octets in, octets out, no I/O.

    exchange = sasl.Exchange(sasl.MECHANISMS["PLAIN"])
    challenge = exchange.begin(initial_response)    # None where the client sent none along
    while challenge is not None:
        challenge = exchange.step(response)
    identity = authentication.accept(exchange.offer, protocol, remote_address)

Lines are base64 (`read_line`, `write_line`); `negotiate` does all of the above for handlers that are generators. A
mechanism that explains a refusal (`Mechanism.failure`) is sent that as one more challenge, and whatever the client
answers is ignored.
"""

from __future__ import annotations

from mailcore.sasl.exchange import MAX_LINE_BYTES, Exchange, negotiate, read_line, write_line
from mailcore.sasl.mechanisms import MECHANISMS, Mechanism
from mailcore.sasl.offer import Offer, PasswordOffer, TokenOffer

__all__ = [
    "MAX_LINE_BYTES",
    "MECHANISMS",
    "Exchange",
    "Mechanism",
    "Offer",
    "PasswordOffer",
    "TokenOffer",
    "negotiate",
    "read_line",
    "write_line",
]
