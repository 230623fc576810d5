"""The API as a WSGI application: every route of the table, from bytes to an answer."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import orjson
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from mailcore.api import documentation, operations
from mailcore.api.application import Application
from mailcore.api.call import Call, actor_of, check_permission, resolve_deleted_user, resolve_user
from mailcore.api.errors import ApiError, api_error, internal
from mailcore.api.idempotency import replayed
from mailcore.api.large_bodies import body_of
from mailcore.api.operation import Media, Operation
from mailcore.api.requests import check_fields, is_fields, read_fields
from mailcore.errors import AuthenticationFailed, MailError
from mailcore.model.secret import Secret
from mailcore.model.token import Token
from mailcore.services import MailServices
from mailcore.services.events.audit import Planned

MAX_TOKEN_CHARACTERS: Final = 200
TRUE: Final = frozenset({"1", "true", "yes", "y", "on"})

logger = logging.getLogger(__name__)


def create_app(services: MailServices, table: Sequence[Operation] = operations.ALL) -> Application:
    """Return the application on these services.

    `table` is another's for operations that live elsewhere and are asked for in the same way.
    """
    app = Application(_failed)
    for operation in table:
        app.add(operation.method, operation.rule, operation.name, partial(_view, services, operation))
    documentation.register(app, tuple(table))
    return app


def _view(services: MailServices, operation: Operation, request: Request, path: dict[str, str]) -> Response:
    found = _token(services, operation, request)
    return replayed(services, operation, request, found, lambda: _run(services, operation, request, found, path))


def _run(
    services: MailServices,
    operation: Operation,
    request: Request,
    found: tuple[Token, Secret] | None,
    path: dict[str, str],
) -> Response:
    """Check the permission and the fields, then do it."""
    dry_run = request.args.get("dry_run", "").lower() in TRUE
    remote = request.remote_addr or ""
    token, value = found if found is not None else (None, None)
    actor = actor_of(token, remote, secrets.token_hex(8), dry_run=dry_run)
    call = Call(services, token, actor, path, value, asked=request.headers)
    if operation.needs is not None:
        if "user" in path:
            resolve = resolve_deleted_user if operation.of_deleted else resolve_user
            call.user_id = resolve(call, path["user"])
        check_permission(call, operation.needs)
    given = check_fields(operation, read_fields(request, operation, services.offload.pause))
    if operation.takes_bytes and not is_fields(request):
        call.body = body_of(request, operation.most_bytes, services.offload.pause)
    try:
        answer = operation.run(call, given)
    except Planned as planned:
        call.plan.append({"change": planned.kind, **planned.wanted})
        answer = {}
    if isinstance(answer, Response):
        return answer
    if dry_run and operation.changes:
        answer = {"dryRun": True, "plan": call.plan}
    return _answer({"success": True, **answer}, operation, call.headers, request)


def _token(services: MailServices, operation: Operation, asked: Request) -> tuple[Token, Secret] | None:
    """Return the token that a request carries, with its value.

    Raises:
        ApiError: the operation needs one, and there is none or not a good one.
    """
    text = asked.headers.get("X-Access-Token") or asked.args.get("accessToken") or ""
    authorization = asked.headers.get("Authorization", "")
    if not text and authorization[:7].lower() == "bearer ":
        text = authorization[7:].strip()
    if not text:
        if operation.needs is None:
            return None
        raise ApiError(403, "InvalidToken", "An access token is needed: send it as X-Access-Token")
    value = Secret(text[:MAX_TOKEN_CHARACTERS].encode("utf-8", "replace"))
    try:
        return services.bearers.find(value, asked.remote_addr or ""), value
    except AuthenticationFailed:
        raise ApiError(403, "InvalidToken", "This access token is not good, or not any more") from None


def _answer(body: dict[str, Any], operation: Operation, headers: dict[str, str], request: Request) -> Response:
    raw = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
    response = Response(raw, 200, mimetype=Media.JSON.value)
    response.headers.update(headers)
    if operation.is_list:
        tag = hashlib.blake2b(raw, digest_size=12).hexdigest()
        response.set_etag(tag)
        response.headers["Cache-Control"] = "private, no-cache"
        if tag in request.if_none_match:
            response.status_code = 304
            response.set_data(b"")
    else:
        response.headers["Cache-Control"] = "no-store"
    return response


def _failed(error: Exception, endpoint: str) -> Response:
    """Turn whatever went wrong into an answer; what nobody foresaw is logged whole and told as nothing."""
    if isinstance(error, MailError):
        error = api_error(error)
    elif isinstance(error, HTTPException):
        error = _of_http(error)
    elif not isinstance(error, ApiError):
        logger.error("api.failed", exc_info=error, extra={"endpoint": endpoint})
        error = internal()
    assert isinstance(error, ApiError)
    response = Response(orjson.dumps(error.body()), error.status, mimetype=Media.JSON.value)
    response.headers.update(error.headers)
    response.headers["Cache-Control"] = "no-store"
    return response


def _of_http(error: HTTPException) -> ApiError:
    """Return the answer to what Werkzeug refused."""
    if error.code == 404:
        return ApiError(404, "ResourceNotFound", "There is no such path")
    if error.code == 405:
        found = ApiError(405, "MethodNotAllowed", "This path does not take this method")
        found.headers.update({name: value for name, value in error.get_headers() if name == "Allow"})
        return found
    if error.code == 413:
        return ApiError(413, "MessageTooLarge", "The request is too large")
    return ApiError(error.code or 400, "InputValidationError", "The request is malformed")
