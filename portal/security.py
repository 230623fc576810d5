"""What keeps other sites out: headers of every answer, and the look at where an unsafe request comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import Flask, Response, abort, request
from flask_wtf.csrf import CSRFProtect

from mailcore.model.secret import Secret
from portal.settings import PortalSettings

FORM_TARGETS: Final = ("'self'", "https://checkout.stripe.com", "https://billing.stripe.com")
"""Where a form may lead, redirects included."""
POLICY: Final[Mapping[str, str]] = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "form-action": " ".join(FORM_TARGETS),
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}
CONTENT_SECURITY_POLICY: Final = "; ".join(f"{name} {value}" for name, value in POLICY.items())


def policy_of(settings: PortalSettings) -> str:
    """Return the policy, in which forms may also lead to the pages of a payment provider that is not the usual one."""
    if settings.stripe is None or not settings.stripe.base_url:
        return CONTENT_SECURITY_POLICY
    return CONTENT_SECURITY_POLICY.replace(FORM_TARGETS[-1], f"{FORM_TARGETS[-1]} {settings.stripe.base_url}")


SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
UNPROTECTED: Final = frozenset({"api", "billing_hook"})
"""Blueprints that take tokens or signatures and never cookies."""
HSTS_S: Final = 365 * 24 * 3600
MAX_FORM_BYTES: Final = 2 * 1024 * 1024

csrf = CSRFProtect()


def set_up(app: Flask, settings: PortalSettings) -> None:
    """Sign cookies by keys made of the sealing keys, check unsafe requests, set headers."""
    keys = [_cookie_key(settings.mail.sealing_keys[number]) for number in sorted(settings.mail.sealing_keys)]
    secure, policy = settings.is_secure, policy_of(settings)
    app.config.update(
        SECRET_KEY=keys[-1],
        SECRET_KEY_FALLBACKS=keys[:-1],
        SESSION_COOKIE_NAME="__Host-eider",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_SSL_STRICT=False,
        MAX_CONTENT_LENGTH=MAX_FORM_BYTES,
    )
    csrf.init_app(app)
    app.before_request(_check_origin)

    @app.after_request
    def protect(response: Response) -> Response:
        """Set the headers that keep other sites out of our pages, and our pages out of caches."""
        headers = response.headers
        headers.setdefault("Content-Security-Policy", policy)
        headers["X-Content-Type-Options"] = "nosniff"
        headers["X-Frame-Options"] = "DENY"
        headers["Referrer-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=()"
        if secure:
            headers["Strict-Transport-Security"] = f"max-age={HSTS_S}"
        if request.endpoint != "static":
            headers.setdefault("Cache-Control", "no-store")
        return response


def _check_origin() -> None:
    """Refuse an unsafe request that another site made the browser send (beside the token in the form)."""
    if request.method in SAFE or request.blueprint in UNPROTECTED:
        return
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        abort(403)
    origin = request.headers.get("Origin")
    if origin is not None and (origin == "null" or urlsplit(origin).netloc != request.host):
        abort(403)


def _cookie_key(sealing_key: Secret) -> str:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"eider portal cookies").derive(sealing_key.reveal())
    return hashlib.sha256(derived).hexdigest()
