"""People of an organisation for tests: users, groups, imports and what hangs on them."""

from __future__ import annotations

import itertools
from typing import Any

from bson import ObjectId
from flask import Flask

from mailcore.model.access import Protocol
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.filter import Query, RuleAction, RuleContent, of_user
from mailcore.model.ids import TenantId, UserId
from mailcore.model.outbound import NewOutbound, OutboundRecipient, QueueId, Reason
from mailcore.model.secret import Secret
from mailcore.model.tenant import User
from mailcore.services import MailServices
from portal.accounts.sessions import Browser as From
from portal.own import sessions as own_sessions
from portal.people import imports
from tests.builders import OPERATOR, PASSWORD, MadeUser
from tests.portal.conftest import Browser, MadeOrganisation, with_token
from tests.services.authenticator import Authenticator
from tests.store.test_delivery import deliver, expunge_all, message

MEMBER = Actor(ActorKind.MEMBER, Door.PORTAL, "owner@members.test", remote_address="192.0.2.1")
SENT_SUBJECT = "canary-subject"
_numbers = itertools.count(1)


def domain_of(mail: MailServices, tenant_id: TenantId) -> str:
    """A verified domain of the tenant, made if it has none."""
    for domain in mail.domains.list_of(tenant_id):
        if domain.verified_at is not None and domain.alias_of is None:
            return domain.name
    return mail.domains.create(OPERATOR, tenant_id, f"p{next(_numbers)}-{ObjectId()}.test").name


def user_of(mail: MailServices, made: MadeOrganisation, name: str = "", password: str | None = PASSWORD) -> UserId:
    """A user of the organisation."""
    tenant_id = made.organisation.tenant_id
    address = f"u{next(_numbers)}@{domain_of(mail, tenant_id)}"
    return mail.users.create(OPERATOR, address, Secret(password) if password else None, name, tenant_id)


def make_user(mail: MailServices, made: MadeOrganisation) -> str:
    return str(user_of(mail, made))


def make_group(mail: MailServices, made: MadeOrganisation) -> str:
    tenant_id = made.organisation.tenant_id
    return mail.groups.create(OPERATOR, tenant_id, f"g{next(_numbers)}@{domain_of(mail, tenant_id)}").display


def make_import(mail: MailServices, made: MadeOrganisation, lines: str = "") -> str:
    """A preview of one user, or of these lines."""
    domain = domain_of(mail, made.organisation.tenant_id)
    text = lines or f"i{next(_numbers)}@{domain}\n"
    return str(imports.bring(mail, MEMBER, made.organisation, "people.csv", f"address\n{text}".encode()).id)


def make_app_password(mail: MailServices, made: MadeOrganisation) -> str:
    return str(mail.app_passwords.create(OPERATOR, user_of(mail, made), "Phone")[0].id)


def make_filter(mail: MailServices, made: MadeOrganisation) -> str:
    return str(mail.filters.create(OPERATOR, of_user(user_of(mail, made)), RuleContent(name="Sort")).id)


def make_passkey(mail: MailServices, made: MadeOrganisation) -> str:
    return register_passkey(mail, user_of(mail, made)).id.hex()


def make_browser(mail: MailServices, made: MadeOrganisation) -> str:
    user = mail.users.get(user_of(mail, made))
    own_sessions.open_session(user, "password", From("192.0.2.7", "of somebody"))
    return str(own_sessions.list_of(user.id)[0].id)


def register_passkey(mail: MailServices, user_id: UserId, origin: str = "http://localhost") -> Authenticator:
    """A device with a passkey of this user."""
    device = Authenticator()
    options = mail.passkeys.begin_registration(
        OPERATOR, user_id, name="Key", origin=origin, rp_id="localhost", rp_name="Eider", session="s"
    )
    answer = device.create(options, origin)
    mail.passkeys.finish_registration(OPERATOR, user_id, challenge=options.challenge, credential=answer, session="s")
    return device


def browser_of_user(app: Flask, mail: MailServices, user_id: UserId) -> Browser:
    """A browser where a mail user is signed in to the own account."""
    user = mail.users.get(user_id)
    return with_token(app, own_sessions.open_session(user, "password", From("127.0.0.1", "test")))


def queued(
    mail: MailServices,
    user_id: UserId,
    *to: str,
    reason: Reason = Reason.SUBMISSION,
    held: str | None = None,
    delay_s: float = 3600,
    subject: str = SENT_SUBJECT,
) -> QueueId:
    """A message of a user that goes out in an hour, unless told otherwise."""
    user = mail.users.get(user_id)
    new = NewOutbound(
        user_id=user_id,
        tenant_id=user.tenant_id,
        reverse_path=user.address,
        forward_paths=tuple(OutboundRecipient(each) for each in to or ("bob@else.test",)),
        message=f"Subject: {SENT_SUBJECT}\r\n\r\nhello\r\n".encode(),
        reason=reason,
        key=ObjectId().binary,
        delay_s=delay_s,
        held=held,
        subject=subject,
        header_message_id=f"<{user_id}.{ObjectId()}@here.test>",
    )
    queue_id = mail.queueing.enqueue(new, OPERATOR)
    mail.trace.flush()
    return queue_id


def make_sent(mail: MailServices, made: MadeOrganisation) -> str:
    return str(queued(mail, user_of(mail, made)))


def text_of(response: Any) -> str:
    """The page as text."""
    return str(response.get_data(as_text=True))


def furnished_user(mail: MailServices, made: MadeOrganisation) -> User:
    """A user of whose pages none is empty."""
    user = mail.users.get(user_of(mail, made, "Ada Lovelace"))
    domain = user.address.partition("@")[2]
    mail.addresses.create(OPERATOR, user.id, f"ada.lovelace{next(_numbers)}@{domain}")
    mail.app_passwords.create(OPERATOR, user.id, "Phone")
    for name, sender in (("Newsletters", "news@"), ("Bills", "billing@")):
        content = RuleContent(Query(sender=sender), RuleAction(seen=True, flagged=True), name)
        mail.filters.create(OPERATOR, of_user(user.id), content)
    itself = Actor(ActorKind.USER, Door.PORTAL, user.address, user.id)
    targets = (f"ada.lovelace.at.home@{user.id}.elsewhere.test", "https://hooks.elsewhere.test/in")
    mail.users.set_settings(itself, user.id, {"targets": targets})
    mail.filters.create(itself, of_user(user.id), RuleContent(action=RuleAction(targets=targets[:1]), name="Home"))
    mail.targets.vouch(OPERATOR, user.id, ["ada@elsewhere.test"])
    recipient = MadeUser(user.id, user.tenant_id, user.address)
    deliver(mail, message(b"gone"), recipient)
    expunge_all(mail, recipient)
    deliver(mail, message(b"here"), recipient)
    mail.authentication.login(user.address, Secret(PASSWORD), Protocol.IMAP, "203.0.113.7")
    mail.auth_log.flush()
    return mail.users.get(user.id)
