"""Pages for what goes wrong: plain words, and what to do."""

from __future__ import annotations

import logging

from flask import Flask, Response, jsonify, make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_wtf.csrf import CSRFError
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from werkzeug.exceptions import HTTPException

from mailcore.errors import LimitExceeded, NotFound, Unavailable
from portal.staff.grants import NoGrant

log = logging.getLogger(__name__)

RETRY_AFTER_S = 10


def set_up(app: Flask) -> None:
    """Answer every failure by a page, or by JSON where the API is asked."""
    app.register_error_handler(DBAPIError, _postgres_failed)
    app.register_error_handler(PoolExhausted, _away)
    app.register_error_handler(Unavailable, _away)
    app.register_error_handler(RedisError, _away)
    app.register_error_handler(NotFound, lambda _error: _page(404))
    app.register_error_handler(LimitExceeded, lambda _error: _page(429))
    app.register_error_handler(CSRFError, lambda _error: _page(400, stale=True))
    app.register_error_handler(NoGrant, _no_grant)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unforeseen)


def _postgres_failed(error: DBAPIError) -> ResponseReturnValue:
    """Postgres is away, or what it was told was wrong: only the first may work later."""
    if error.connection_invalidated or isinstance(error.orig, _lost()):
        return _away(error)
    return _unforeseen(error)


def _lost() -> tuple[type[Exception], ...]:
    from psycopg.errors import InterfaceError, OperationalError

    return (OperationalError, InterfaceError)


def _away(error: Exception) -> ResponseReturnValue:
    log.warning("portal.away", extra={"reason": type(error).__name__, "endpoint": request.endpoint or ""})
    return _page(503)


def _http(error: HTTPException) -> ResponseReturnValue:
    if error.response is not None:
        return error.response
    return _page(error.code or 500)


def _no_grant(_error: NoGrant) -> ResponseReturnValue:
    text = _("This needs a grant of the organisation: ask its owner to give one under Support.")
    return _page(403, text=text)


def _unforeseen(error: Exception) -> ResponseReturnValue:
    log.error("portal.failed", exc_info=error, extra={"endpoint": request.endpoint or ""})
    return _page(500)


def _page(status: int, *, stale: bool = False, text: str = "") -> Response:
    title, usual = _words(status, stale=stale)
    text = text or usual
    if request.accept_mimetypes.best == "application/json":
        response = make_response(jsonify(error=title), status)
    else:
        response = make_response(render_template("errors/failure.html", title=title, text=text, status=status), status)
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _words(status: int, *, stale: bool) -> tuple[str, str]:
    if stale:
        return _("This page was open too long"), _(
            "Nothing was changed. Go back, load the page again and send it again."
        )
    known = {
        400: (_("That did not work"), _("The request was not complete. Go back and try it again.")),
        403: (
            _("You may not do this"),
            _("Your role does not include it. Ask an owner or admin of your organisation."),
        ),
        404: (_("There is no such page"), _("It may have been removed, or the address has a typing error.")),
        405: (_("That did not work"), _("The request was not complete. Go back and try it again.")),
        413: (_("That is too much at once"), _("Send a smaller file.")),
        429: (_("Too many tries"), _("Wait a few minutes, then try it again.")),
        503: (
            _("We are not quite here"),
            _("The portal cannot reach its data at the moment. Your mail goes on as ever. Try again in a minute."),
        ),
    }
    return known.get(status) or (
        _("Something went wrong on our side"),
        _("We were told of it. Nothing was lost; try it again in a minute."),
    )
