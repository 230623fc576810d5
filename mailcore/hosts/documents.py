"""The few public documents of tenants' domains, by host name; whatever else is asked for is not there.

Everybody may ask, and nothing is changed. The process `hosts` serves them, and so does the portal beside its pages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import Blueprint, Response, abort, jsonify, request
from flask.typing import ResponseReturnValue

from mailcore.services import MailServices

MOST_BYTES: Final = 16 * 1024
CACHED_S: Final = 300

View = Callable[..., ResponseReturnValue]


def documents(services: Callable[[], MailServices], opened: Callable[[View], View] = lambda view: view) -> Blueprint:
    """Return the views; `services` is asked in each request, `opened` is put around each view."""
    blueprint = Blueprint("published", __name__)

    def mta_sts() -> ResponseReturnValue:
        return cached(services().domain_documents.sts_policy(_host()), "text/plain")

    def autoconfig() -> ResponseReturnValue:
        address = request.args.get("emailaddress", "")
        return cached(services().domain_documents.autoconfig(_host(), address), "text/xml")

    def autodiscover() -> ResponseReturnValue:
        request.max_content_length = MOST_BYTES
        try:
            found = services().domain_documents.autodiscover(request.get_data())
        except ValueError:
            abort(400)
        return abort(404) if found is None else Response(found, mimetype="text/xml")

    def autodiscover_json(address: str = "") -> ResponseReturnValue:
        url = services().domain_documents.autodiscover_url(address or request.args.get("Email", ""))
        if url is None:
            abort(404)
        if request.args.get("Protocol", "").lower() != "autodiscoverv1":
            return jsonify(ErrorCode="InvalidProtocol", ErrorMessage="Only AutodiscoverV1 is served here."), 404
        return jsonify(Protocol="AutodiscoverV1", Url=url)

    def challenge(token: str) -> ResponseReturnValue:
        answer = services().acme.answer(token)
        return abort(404) if answer is None else Response(answer, mimetype="text/plain")

    for path, method, view in (
        ("/.well-known/mta-sts.txt", "GET", mta_sts),  # RFC 8461 §3.2
        ("/mail/config-v1.1.xml", "GET", autoconfig),
        ("/.well-known/autoconfig/mail/config-v1.1.xml", "GET", autoconfig),
        ("/autodiscover/autodiscover.xml", "POST", autodiscover),
        ("/Autodiscover/Autodiscover.xml", "POST", autodiscover),
        ("/autodiscover/autodiscover.json", "GET", autodiscover_json),
        ("/autodiscover/autodiscover.json/v1.0/<address>", "GET", autodiscover_json),
        ("/.well-known/acme-challenge/<token>", "GET", challenge),  # RFC 8555 §8.3
    ):
        named = f"{view.__name__}_{path.strip('/').replace('/', '_').replace('.', '_')}"
        blueprint.add_url_rule(path, named, opened(view), methods=[method])
    return blueprint


def cached(text: str | None, mimetype: str) -> Response:
    """Return a document that may be kept for some minutes; 404 for none."""
    if text is None:
        abort(404)
    response = Response(text, mimetype=mimetype)
    response.headers["Cache-Control"] = f"public, max-age={CACHED_S}"
    return response


def _host() -> str:
    return request.host.partition(":")[0]
