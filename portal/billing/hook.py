"""Where the payment provider tells us what happened: signed, without a cookie."""

from __future__ import annotations

from flask import Blueprint, abort, jsonify, request
from flask.typing import ResponseReturnValue

from portal.access import public
from portal.billing import webhooks
from portal.mail_plane import portal
from portal.security import csrf

blueprint = Blueprint("billing_hook", __name__)
csrf.exempt(blueprint)
MOST_BYTES = 512 * 1024


@blueprint.post("/hooks/stripe")
@public
def stripe_event() -> ResponseReturnValue:
    """Take an event: 400 if it is forged, 200 once it is applied or nothing of ours, 503 to hear it again."""
    parts = portal()
    if parts.settings.stripe is None or parts.payments is None:
        abort(404)
    if (request.content_length or 0) > MOST_BYTES:
        abort(413)
    try:
        told = webhooks.verify(
            parts.settings.stripe, request.get_data(cache=False), request.headers.get("Stripe-Signature", "")
        )
    except webhooks.EventForged:
        return jsonify(error="the signature is wrong or too old"), 400
    return jsonify(outcome=webhooks.receive(parts.settings.stripe, parts.payments, told))
