"""What is served for the domains themselves, by host name: to senders, to mail programs, to who finds a hole."""

from __future__ import annotations

from datetime import timedelta

from flask import Response, abort, request
from flask.typing import ResponseReturnValue

from mailcore.errors import AddressInvalid
from mailcore.hosts.documents import View, cached, documents
from mailcore.model.address import Address
from mailcore.services.trust.mobileconfig import MEDIA_TYPE, MailAccount
from portal.access import public
from portal.database import utc_now
from portal.mail_plane import mail, portal
from portal.security import csrf

SECURITY_VALID = timedelta(days=180)


def _opened(view: View) -> View:
    """Let everybody ask; what is posted changes nothing, so nobody has to prove anything."""
    csrf.exempt(view)
    return public(view)


blueprint = documents(mail, _opened)


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
    return cached("\n".join([*lines, ""]), "text/plain")
