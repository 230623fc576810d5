"""How programs and phones are set up for the own mailbox."""

from __future__ import annotations

from flask import Blueprint, render_template, url_for
from flask.typing import ResponseReturnValue

from portal.access import requires
from portal.mail_plane import external_url, mail
from portal.own.sessions import me
from portal.people.set_up import qr_code, servers
from portal.permissions import Permission

blueprint = Blueprint("own_set_up", __name__, url_prefix="/account/set-up")


@blueprint.get("")
@requires(Permission.OWN_MAIL)
def index() -> ResponseReturnValue:
    """Show servers, ports, and a code that leads a phone here."""
    link = external_url(url_for("own_set_up.index"))
    return render_template(
        "own/set_up.html", user=me(), servers=servers(mail().settings), link=link, code=qr_code(link)
    )
