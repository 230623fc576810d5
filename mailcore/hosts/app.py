"""What the hosts of tenants' domains serve, as an application."""

from __future__ import annotations

import logging

from flask import Flask, Response
from flask.typing import ResponseReturnValue

from mailcore.errors import Unavailable
from mailcore.hosts.documents import MOST_BYTES, documents
from mailcore.services import MailServices

logger = logging.getLogger(__name__)


def create_app(services: MailServices) -> Flask:
    """Return the application: it holds nothing, and everybody may ask."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
    app.register_blueprint(documents(lambda: services))

    @app.errorhandler(Unavailable)
    def away(error: Unavailable) -> ResponseReturnValue:
        logger.warning("hosts.away", extra={"reason": type(error).__name__})
        return Response("try again\n", 503, mimetype="text/plain", headers={"Retry-After": "10"})

    return app
