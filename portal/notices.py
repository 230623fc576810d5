"""Mail that the portal sends to members: text in their language, queued as every other message."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mailcore.errors import NotFound
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.address import Address
from mailcore.model.outbound import NewOutbound, OutboundRecipient, Reason
from mailcore.services import MailServices
from portal.database import utc_now
from portal.languages import translations
from portal.settings import PortalSettings

log = logging.getLogger(__name__)

PORTAL: Final = Actor(ActorKind.SYSTEM, Door.PORTAL, "portal")
FOLDER: Final = Path(__file__).parent / "templates" / "notices"
NAME: Final = "Eider"


class SenderMissing(RuntimeError):
    """EIDER_PORTAL_SENDER names no user here: nobody can be written to."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One mail: which template, to whom, in which language, with what in it."""

    event: str
    to: str
    language: str
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)


def send(mail: MailServices, settings: PortalSettings, notice: Notice, *, key: bytes) -> None:
    """Queue a mail; the same key again is the same mail, sent once.

    Raises:
        SenderMissing: the settings name nobody in whose name it could go out.
        StoreUnavailable, StoreFull: not queued; the same call again is safe.
    """
    sender = Address.parse(settings.sender) if settings.sender else None
    try:
        route = mail.addresses.get(settings.sender) if sender is not None else None
    except NotFound:
        route = None
    if sender is None or route is None:
        log.error("portal.sender_missing", extra={"sender": settings.sender})
        raise SenderMissing(f"EIDER_PORTAL_SENDER {settings.sender!r} is no user here: create it (eider user create)")
    message = _message(notice, sender, f"<{key.hex()}.{notice.event}@{sender.domain}>")
    is_utf8 = not notice.to.isascii()
    raw = message.as_bytes(policy=SMTPUTF8 if is_utf8 else SMTP)
    signature = mail.dkim.sign_for_host(sender.domain, raw)
    mail.outbound.enqueue(
        NewOutbound(
            user_id=route.user_id,
            tenant_id=route.tenant_id,
            reverse_path=str(sender),
            forward_paths=(OutboundRecipient(notice.to),),
            message=signature + raw,
            reason=Reason.NOTICE,
            key=b"portal notice" + notice.event.encode() + key,
            is_utf8=is_utf8,
            header_message_id=message["Message-ID"],
        ),
        PORTAL,
    )


def _message(notice: Notice, sender: Address, message_id: str) -> EmailMessage:
    message = EmailMessage()
    subject, _, body = render(notice).partition("\n")
    message["From"] = HeaderAddress(NAME, sender.local, sender.domain)
    message["To"] = notice.to
    message["Subject"] = subject.strip()
    message["Date"] = format_datetime(utc_now())
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body.strip() + "\n", cte="quoted-printable")
    return message


def render(notice: Notice) -> str:
    """Return the text: the first line is the subject."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        extensions=["jinja2.ext.i18n"],
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  plain text
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_translations(translations(notice.language), newstyle=True)  # type: ignore[attr-defined]
    return environment.get_template(f"{notice.event}.txt").render(**notice.values)
