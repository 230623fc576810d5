"""The few public documents of tenants' domains; whatever else is asked for is not there."""

from __future__ import annotations

import logging
from typing import Final

from flask import Flask, Response, abort, jsonify, request
from flask.typing import ResponseReturnValue

from mailcore.errors import Unavailable
from mailcore.services import MailServices

MOST_BYTES: Final = 16 * 1024
CACHED_S: Final = 300

logger = logging.getLogger(__name__)


def create_app(services: MailServices) -> Flask:
    """Return the application: it holds nothing, and everybody may ask."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
    documents = services.domain_documents

    @app.get("/.well-known/mta-sts.txt")
    def mta_sts() -> ResponseReturnValue:
        return _cached(documents.sts_policy(_host()), "text/plain")

    @app.get("/mail/config-v1.1.xml")
    @app.get("/.well-known/autoconfig/mail/config-v1.1.xml", endpoint="well_known_autoconfig")
    def autoconfig() -> ResponseReturnValue:
        return _cached(documents.autoconfig(_host(), request.args.get("emailaddress", "")), "text/xml")

    @app.post("/autodiscover/autodiscover.xml")
    @app.post("/Autodiscover/Autodiscover.xml", endpoint="autodiscover_in_capitals")
    def autodiscover() -> ResponseReturnValue:
        try:
            found = documents.autodiscover(request.get_data())
        except ValueError:
            abort(400)
        return abort(404) if found is None else Response(found, mimetype="text/xml")

    @app.get("/autodiscover/autodiscover.json")
    @app.get("/autodiscover/autodiscover.json/v1.0/<address>", endpoint="autodiscover_of_address")
    def autodiscover_json(address: str = "") -> ResponseReturnValue:
        url = documents.autodiscover_url(address or request.args.get("Email", ""))
        if url is None:
            abort(404)
        if request.args.get("Protocol", "").lower() != "autodiscoverv1":
            return jsonify(ErrorCode="InvalidProtocol", ErrorMessage="Only AutodiscoverV1 is served here."), 404
        return jsonify(Protocol="AutodiscoverV1", Url=url)

    @app.get("/.well-known/acme-challenge/<token>")
    def challenge(token: str) -> ResponseReturnValue:
        answer = services.acme.answer(token)
        return abort(404) if answer is None else Response(answer, mimetype="text/plain")

    @app.errorhandler(Unavailable)
    def away(error: Unavailable) -> ResponseReturnValue:
        logger.warning("hosts.away", extra={"reason": type(error).__name__})
        return Response("try again\n", 503, mimetype="text/plain", headers={"Retry-After": "10"})

    return app


def _host() -> str:
    return request.host.partition(":")[0]


def _cached(text: str | None, mimetype: str) -> Response:
    if text is None:
        abort(404)
    response = Response(text, mimetype=mimetype)
    response.headers["Cache-Control"] = f"public, max-age={CACHED_S}"
    return response
