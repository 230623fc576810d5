"""The portal's application."""

from __future__ import annotations

import logging

from flask import Flask, Response, jsonify, render_template
from flask.typing import ResponseReturnValue

from portal import database
from portal.settings import PortalSettings

log = logging.getLogger(__name__)

CONTENT_SECURITY_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"


def create_app(settings: PortalSettings) -> Flask:
    """Build the application; nothing is connected before the first request."""
    app = Flask(__name__)
    engine = database.open_engine(settings.database_url)

    @app.get("/")
    def home() -> ResponseReturnValue:
        """Show what this is."""
        return render_template("home.html")

    @app.get("/health")
    def health() -> ResponseReturnValue:
        """Answer 200 while Postgres answers, else 503; for load balancers."""
        if database.answers(engine):
            return jsonify(status="ok")
        log.warning("portal.health.failed", extra={"store": "postgres"})
        return jsonify(status="unavailable", store="postgres"), 503

    @app.after_request
    def protect(response: Response) -> Response:
        """Set the headers that keep other sites out of our pages."""
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        return response

    return app
