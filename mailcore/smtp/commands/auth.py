"""AUTH: sign in by SASL (RFC 4954)."""

from __future__ import annotations

import logging

from mailcore import log, sasl
from mailcore.errors import AuthenticationFailed, SyntaxFault
from mailcore.model.access import Protocol
from mailcore.services.accounts.door_session import DoorSession
from mailcore.smtp import replies
from mailcore.smtp.commands.outcome import Ask, Outcome
from mailcore.smtp.session import Session

logger = logging.getLogger(__name__)


def handle_auth(session: Session, argument: bytes) -> Outcome:
    """Read `mechanism [SP initial-response]`; in clear it is refused before the response is looked at."""
    door = session.door
    if door is None:
        return replies.UNKNOWN_COMMAND
    if not session.hello_name:
        return replies.SAY_HELLO_FIRST
    if door.identity is not None:
        return replies.SIGNED_IN_ALREADY
    if session.transaction is not None:
        return replies.BAD_SEQUENCE
    if not door.may_sign_in:
        logger.info("smtp.login.refused", extra={"reason": "not encrypted"})
        return replies.ENCRYPT_FIRST
    name, _, initial = argument.partition(b" ")
    mechanism = sasl.MECHANISMS.get(name.decode("ascii", "replace").upper())
    if mechanism is None:
        return replies.UNKNOWN_MECHANISM
    exchange = sasl.Exchange(mechanism)
    if initial:
        return _step(door, exchange, initial, is_first=True)
    challenge = exchange.begin()
    assert challenge is not None
    return _ask(door, exchange, challenge)


def _ask(door: DoorSession, exchange: sasl.Exchange, challenge: bytes) -> Outcome:
    return Ask(sasl.write_line(challenge), lambda line: _step(door, exchange, line, is_first=False))


def _step(door: DoorSession, exchange: sasl.Exchange, line: bytes, *, is_first: bool) -> Outcome:
    """Take a response; sign in once it was the last."""
    try:
        response = sasl.read_line(line)
        if response is None:
            return replies.CANCELLED
        challenge = exchange.begin(response) if is_first else exchange.step(response)
    except SyntaxFault:
        return replies.BAD_RESPONSE
    return _sign_in(door, exchange) if challenge is None else _ask(door, exchange, challenge)


def _sign_in(door: DoorSession, exchange: sasl.Exchange) -> Outcome:
    """Answer 235, or as the error's row says; a refused token is explained first (RFC 7628 §3.2.3).

    Raises as `Authentication.accept` and `Connections.open`.
    """
    try:
        door.enter(door.services.authentication.accept(exchange.offer, Protocol.SMTP, door.remote_address))
    except AuthenticationFailed as error:
        failure = exchange.mechanism.failure
        if failure is None:
            raise
        refusal = replies.reply_for(error)
        return Ask(sasl.write_line(failure), lambda _line: refusal)
    assert door.identity is not None
    log.bind(user_id=door.identity.user_id, tenant_id=door.identity.tenant_id)
    return replies.SIGNED_IN
