"""The API of organisations below `/api`, beside the pages and apart from their cookies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from mailcore.api.app import create_app
from mailcore.api.application import Application
from portal.api import domains, members, tenants
from portal.mail_plane import Portal

PREFIX: Final = "/api"
OPERATIONS: Final = (*tenants.OPERATIONS, *members.OPERATIONS, *domains.OPERATIONS)
"""Every operation; a feature adds its own."""


def mount(app: Flask, parts: Portal) -> Application:
    """Let the application answer below `/api`; return the application that does."""
    api = create_app(parts.mail, OPERATIONS)

    def scoped(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer with a session of Postgres of its own; answers are whole before they are sent."""
        with app.app_context(), parts.database.scope():
            return api(environ, start_response)

    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {PREFIX: scoped})  # type: ignore[method-assign]
    return api
