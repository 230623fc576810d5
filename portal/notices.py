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

from mailcore.errors import NotFound, QueueEntryNotFound
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.address import Address
from mailcore.model.outbound import NewOutbound, OutboundRecipient, Reason
from mailcore.model.tenant import AddressRoute
from mailcore.services import MailServices
from mailcore.services.inbound.delivery import DeliveryTarget
from mailcore.services.outbound.queueing import queue_id_of
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
    """One mail: which template, to whom, in which language, with what in it.

    Attributes:
        answers: Message-ID of what it answers, "" if that has none that is fit; None if it answers nothing
            (RFC 3834 §3.1.5).
        is_final: nobody hears if it cannot be delivered: it goes out under the null reverse-path (RFC 3834 §3.3).
    """

    event: str
    to: str
    language: str
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    answers: str | None = None
    is_final: bool = False


def send(mail: MailServices, settings: PortalSettings, notice: Notice, *, key: bytes) -> None:
    """Queue a mail; the same key again is the same mail, sent once.

    Raises:
        SenderMissing: the settings name nobody in whose name it could go out.
        StoreUnavailable, StoreFull: not queued; the same call again is safe.
    """
    sender, route = _sender(mail, settings)
    message = _message(notice, sender, f"<{key.hex()}{_mark(notice.event, sender)}")
    is_utf8 = not notice.to.isascii()
    raw = message.as_bytes(policy=SMTPUTF8 if is_utf8 else SMTP)
    signature = mail.dkim.sign_for_host(sender.domain, raw)
    mail.queueing.enqueue(
        NewOutbound(
            user_id=route.user_id,
            tenant_id=route.tenant_id,
            reverse_path="" if notice.is_final else str(sender),
            forward_paths=(OutboundRecipient(notice.to, frozenset() if notice.is_final else None),),
            message=signature + raw,
            reason=Reason.NOTICE,
            key=_key(notice.event, key),
            is_utf8=is_utf8,
            header_message_id=message["Message-ID"],
        ),
        PORTAL,
    )


def deliver(mail: MailServices, settings: PortalSettings, notice: Notice, *, key: bytes) -> None:
    """Deliver a mail to a user here at once, as the user's rules and targets are now; `key` names it.

    Raises:
        SenderMissing: as `send`.
        MailError: the user gets no mail now.
    """
    sender, _ = _sender(mail, settings)
    message = _message(notice, sender, f"<{key.hex()}{_mark(notice.event, sender)}")
    raw = message.as_bytes(policy=SMTP if notice.to.isascii() else SMTPUTF8)
    target = DeliveryTarget(mail.delivery.resolve(notice.to))
    for result in mail.delivery.deliver(raw, [target], None, PORTAL):
        if result.error is not None:
            raise result.error


def is_queued(mail: MailServices, settings: PortalSettings, event: str, key: bytes) -> bool:
    """Whether a mail under this key was queued, as far as that is remembered.

    Raises:
        SenderMissing: as `send`.
    """
    _, route = _sender(mail, settings)
    try:
        mail.outbound.get(route.user_id, queue_id_of(route.user_id, _key(event, key)))
    except QueueEntryNotFound:
        return False
    return True


def is_ours(settings: PortalSettings, event: str, header_message_id: str) -> bool:
    """Whether a message is, by its Message-ID, such a mail of ours that came back to us."""
    return bool(settings.sender) and header_message_id.endswith(_mark(event, Address.parse(settings.sender)))


def _sender(mail: MailServices, settings: PortalSettings) -> tuple[Address, AddressRoute]:
    sender = Address.parse(settings.sender) if settings.sender else None
    try:
        route = mail.addresses.get(settings.sender) if sender is not None else None
    except NotFound:
        route = None
    if sender is None or route is None:
        log.error("portal.sender_missing", extra={"sender": settings.sender})
        raise SenderMissing(f"EIDER_PORTAL_SENDER {settings.sender!r} is no user here: create it (eider user create)")
    return sender, route


def _key(event: str, key: bytes) -> bytes:
    return b"portal notice" + event.encode() + key


def _mark(event: str, sender: Address) -> str:
    """Return how the Message-ID of such a mail ends."""
    return f".{event}@{sender.domain}>"


def _message(notice: Notice, sender: Address, message_id: str) -> EmailMessage:
    message = EmailMessage()
    subject, _, body = render(notice).partition("\n")
    message["From"] = HeaderAddress(NAME, sender.local, sender.domain)
    message["To"] = notice.to
    message["Subject"] = subject.strip()
    message["Date"] = format_datetime(utc_now())
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated" if notice.answers is None else "auto-replied"
    if notice.answers:
        message["In-Reply-To"] = message["References"] = notice.answers
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
