"""`Idempotency-Key`: a write that is sent again is done once, and both get the same answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from werkzeug.wrappers import Request, Response

from mailcore.api.errors import ApiError
from mailcore.api.large_bodies import beginning_of
from mailcore.api.operation import Media, Operation
from mailcore.model.secret import Secret
from mailcore.model.token import Token
from mailcore.services import MailServices
from mailcore.services.process.api_requests import Claim

MAX_KEY: Final = 255
HASHED_BYTES: Final = 1 << 16

Found = tuple[Token, Secret] | None


def replayed(
    services: MailServices, operation: Operation, request: Request, found: Found, run: Callable[[], Response]
) -> Response:
    """Run a request, or answer it as the one before it under the same key.

    Raises:
        ApiError: the key is too long.
        RequestDiffers, RequestUnderWay: see `ApiRequests.begin`.
    """
    key = request.headers.get("Idempotency-Key", "")
    if not key or not operation.changes or found is None:
        return run()
    if len(key) > MAX_KEY:
        raise ApiError(400, "InputValidationError", f"An Idempotency-Key has at most {MAX_KEY} characters")
    claim = services.api_requests.begin(found[0], Secret(key.encode("utf-8", "replace")), _digest(request))
    if isinstance(claim, bytes):
        answer = Response(claim, 200, mimetype=Media.JSON.value)
        answer.headers["Idempotent-Replayed"] = "true"
        return answer
    return _finished(services, claim, run)


def _finished(services: MailServices, claim: Claim, run: Callable[[], Response]) -> Response:
    try:
        answer = run()
    except BaseException:
        services.api_requests.withdraw(claim)
        raise
    if answer.status_code == 200 and answer.mimetype == Media.JSON.value:
        services.api_requests.finish(claim, answer.get_data())
    else:
        services.api_requests.withdraw(claim)
    return answer


def _digest(request: Request) -> bytes:
    """Return a hash of what is asked; of a large body its length, if that is said, and first 64 KiB."""
    found = hashlib.sha256(f"{request.method} {request.full_path} {request.content_length}\n".encode())
    found.update(beginning_of(request, HASHED_BYTES))
    return found.digest()
