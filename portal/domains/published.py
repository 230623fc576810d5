"""What is served for the domains themselves, by host name: to senders, to mail programs, to who finds a hole."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, Response, abort, jsonify, request
from flask.typing import ResponseReturnValue

from mailcore.errors import AddressInvalid
from mailcore.model.address import Address
from mailcore.services.mobileconfig import MEDIA_TYPE, MailAccount
from portal.access import public
from portal.database import utc_now
from portal.mail_plane import mail, portal
from portal.security import csrf

blueprint = Blueprint("published", __name__)

MOST_BYTES = 16 * 1024
SECURITY_VALID = timedelta(days=180)
CACHED_S = 300


@blueprint.get("/.well-known/mta-sts.txt")
@public
def mta_sts() -> ResponseReturnValue:
    """Serve the policy of the domain in the host name `mta-sts.DOMAIN` (RFC 8461 §3.2)."""
    return _cached(mail().domain_documents.sts_policy(_host()), "text/plain")


@blueprint.get("/mail/config-v1.1.xml")
@blueprint.get("/.well-known/autoconfig/mail/config-v1.1.xml", endpoint="well_known_autoconfig")
@public
def autoconfig() -> ResponseReturnValue:
    """Tell Thunderbird and others about our servers, of `autoconfig.DOMAIN` or the address that they ask for."""
    return _cached(mail().domain_documents.autoconfig(_host(), request.args.get("emailaddress", "")), "text/xml")


@blueprint.post("/autodiscover/autodiscover.xml")
@blueprint.post("/Autodiscover/Autodiscover.xml", endpoint="autodiscover_in_capitals")
@csrf.exempt  # type: ignore[untyped-decorator]
@public
def autodiscover() -> ResponseReturnValue:
    """Tell Outlook about our servers; changes nothing, so nobody has to prove anything."""
    if (request.content_length or 0) > MOST_BYTES:
        abort(413)
    try:
        found = mail().domain_documents.autodiscover(request.get_data())
    except ValueError:
        abort(400)
    return abort(404) if found is None else Response(found, mimetype="text/xml")


@blueprint.get("/autodiscover/autodiscover.json")
@blueprint.get("/autodiscover/autodiscover.json/v1.0/<address>", endpoint="autodiscover_of_address")
@public
def autodiscover_json(address: str = "") -> ResponseReturnValue:
    """Tell newer Outlooks where the older form is (Autodiscover version 2)."""
    url = mail().domain_documents.autodiscover_url(address or request.args.get("Email", ""))
    if url is None:
        abort(404)
    if request.args.get("Protocol", "").lower() != "autodiscoverv1":
        return jsonify(ErrorCode="InvalidProtocol", ErrorMessage="Only AutodiscoverV1 is served here."), 404
    return jsonify(Protocol="AutodiscoverV1", Url=url)


@blueprint.get("/.well-known/acme-challenge/<token>")
@public
def challenge(token: str) -> ResponseReturnValue:
    """Tell an authority that we are who asked it for a certificate (RFC 8555 §8.3)."""
    answer = mail().acme.answer(token)
    return abort(404) if answer is None else Response(answer, mimetype="text/plain")


@blueprint.get("/mail.mobileconfig")
@public
def mobileconfig() -> ResponseReturnValue:
    """Serve a signed profile for Apple's devices, without a password: the device asks for it."""
    try:
        address = Address.parse(request.args.get("email", ""))
    except AddressInvalid:
        abort(400)
    if mail().domain_documents.hosted(address.domain) is None:
        abort(404)
    text = str(address)
    profile = mail().mobile_configs.write(MailAccount(text, text, text))
    response = Response(profile, mimetype=MEDIA_TYPE)
    response.headers["Content-Disposition"] = 'attachment; filename="mail.mobileconfig"'
    return response


@blueprint.get("/.well-known/security.txt")
@public
def security() -> ResponseReturnValue:
    """Say where to report a hole (RFC 9116)."""
    settings = portal().settings
    expires = (utc_now() + SECURITY_VALID).replace(hour=0, minute=0, second=0, microsecond=0)
    lines = [
        f"Contact: {settings.domains.security_contact}",
        f"Expires: {expires.isoformat().replace('+00:00', 'Z')}",
        "Preferred-Languages: en, de",
        f"Canonical: {settings.public_url}/.well-known/security.txt",
    ]
    return _cached("\n".join([*lines, ""]), "text/plain")


def _host() -> str:
    return request.host.partition(":")[0]


def _cached(text: str | None, mimetype: str) -> Response:
    if text is None:
        abort(404)
    response = Response(text, mimetype=mimetype)
    response.headers["Cache-Control"] = f"public, max-age={CACHED_S}"
    return response
