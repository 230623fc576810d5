"""Keys with which incoming mail is encrypted before it is stored: OpenPGP or S/MIME."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import MailError, Unavailable
from mailcore.services.content.encryption import certificate_infos, key_info
from portal.access import requires
from portal.mail_plane import mail
from portal.own.forms import KeysForm
from portal.own.sessions import acting, me
from portal.permissions import Permission
from portal.refusals import refusal

blueprint = Blueprint("own_keys", __name__, url_prefix="/account/keys")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@blueprint.route("/", methods=["GET", "POST"])
@requires(Permission.OWN_MAIL)
def index() -> ResponseReturnValue:
    """Show the keys there are, and change them."""
    user = me()
    choice = user.encryption
    text = choice.pgp_key or "\n".join(choice.certificates)
    form = KeysForm(data={"keys": text, "of_stored": choice.of_stored, "of_forwarded": choice.of_forwarded})
    if form.validate_on_submit():
        try:
            mail().encryptions.set(acting(user), user.id, _changes(form))
        except Unavailable:
            raise
        except MailError as error:
            form.keys.errors = [refusal(error)]
        else:
            flash(_("Saved. It holds for mail that comes from now on."), "success")
            return redirect(url_for("own_keys.index"), code=303)
    return render_template(
        "own/keys.html",
        form=form,
        key=key_info(choice),
        certificates=certificate_infos(choice),
    ), 400 if form.errors else 200


def _changes(form: KeysForm) -> dict[str, Any]:
    """Return what to keep: certificates if there are any, else what is given as an OpenPGP key."""
    text = (form.keys.data or "").replace("\r\n", "\n").strip()
    certificates = tuple(found + "\n" for found in _CERTIFICATE.findall(text))
    return {
        "pgp_key": "" if certificates else text,
        "certificates": certificates,
        "of_stored": bool(form.of_stored.data),
        "of_forwarded": bool(form.of_forwarded.data),
    }
