"""What is served for the domains themselves, by host name: to senders, to mail programs, to who finds a hole."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, Response, abort, jsonify, request
from flask.typing import ResponseReturnValue

from mailcore.errors import AddressInvalid, DomainInvalid
from mailcore.model.address import Address, domain_name
from mailcore.services.mobileconfig import MEDIA_TYPE, MailAccount
from portal.access import public
from portal.database import utc_now
from portal.domains import client_settings, queries
from portal.domains.policy import policy_text
from portal.mail_plane import mail, portal
from portal.security import csrf

blueprint = Blueprint("published", __name__)

MOST_BYTES = 16 * 1024
SECURITY_VALID = timedelta(days=180)
CACHED_S = 300


@blueprint.get("/.well-known/mta-sts.txt")
@public
def mta_sts() -> ResponseReturnValue:
    """Serve the policy of the domain in the host name `mta-sts.DOMAIN` (RFC 8461 §3.2); one round trip."""
    claim = queries.find_proven(_domain_of_host("mta-sts."))
    if claim is None:
        abort(404)
    return _cached(policy_text(claim.sts_mode, portal().settings.domains.names), "text/plain")


@blueprint.get("/mail/config-v1.1.xml")
@blueprint.get("/.well-known/autoconfig/mail/config-v1.1.xml", endpoint="well_known_autoconfig")
@public
def autoconfig() -> ResponseReturnValue:
    """Tell Thunderbird and others about our servers, of `autoconfig.DOMAIN` or the address that they ask for."""
    address = request.args.get("emailaddress", "")
    domain = _hosted(address.rpartition("@")[2]) if address else _hosted(_domain_of_host("autoconfig."))
    return _cached(client_settings.autoconfig(domain, _client_host()), "text/xml")


@blueprint.post("/autodiscover/autodiscover.xml")
@blueprint.post("/Autodiscover/Autodiscover.xml", endpoint="autodiscover_in_capitals")
@csrf.exempt  # type: ignore[untyped-decorator]
@public
def autodiscover() -> ResponseReturnValue:
    """Tell Outlook about our servers; changes nothing, so nobody has to prove anything."""
    if (request.content_length or 0) > MOST_BYTES:
        abort(413)
    address = client_settings.asked_address(request.get_data())
    if address is None:
        abort(400)
    _hosted(address.rpartition("@")[2])
    return Response(client_settings.autodiscover(address, _client_host()), mimetype="text/xml")


@blueprint.get("/autodiscover/autodiscover.json")
@blueprint.get("/autodiscover/autodiscover.json/v1.0/<address>", endpoint="autodiscover_of_address")
@public
def autodiscover_json(address: str = "") -> ResponseReturnValue:
    """Tell newer Outlooks where the older form is (Autodiscover version 2)."""
    domain = _hosted((address or request.args.get("Email", "")).rpartition("@")[2])
    if request.args.get("Protocol", "").lower() != "autodiscoverv1":
        return jsonify(ErrorCode="InvalidProtocol", ErrorMessage="Only AutodiscoverV1 is served here."), 404
    return jsonify(Protocol="AutodiscoverV1", Url=f"https://autodiscover.{domain}/autodiscover/autodiscover.xml")


@blueprint.get("/mail.mobileconfig")
@public
def mobileconfig() -> ResponseReturnValue:
    """Serve a signed profile for Apple's devices, without a password: the device asks for it."""
    try:
        address = Address.parse(request.args.get("email", ""))
    except AddressInvalid:
        abort(400)
    _hosted(address.domain)
    text = str(address)
    profile = mail().mobile_configs.write(MailAccount(text, text, text, host=_client_host()))
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


def _domain_of_host(label: str) -> str:
    """Return the domain behind a label in the host that was asked for."""
    host = request.host.partition(":")[0].lower()
    if not host.startswith(label):
        abort(404)
    return host.removeprefix(label)


def _hosted(name: str) -> str:
    """Return a domain in A-labels if it is proven here; whether an address of it exists is nobody's business."""
    try:
        domain = domain_name(name)
    except DomainInvalid:
        abort(404)
    if not mail().domains.is_verified(domain):
        abort(404)
    return domain


def _client_host() -> str:
    return portal().settings.domains.names.client_host


def _cached(text: str, mimetype: str) -> Response:
    response = Response(text, mimetype=mimetype)
    response.headers["Cache-Control"] = f"public, max-age={CACHED_S}"
    return response
