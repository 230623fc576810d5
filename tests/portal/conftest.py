"""The portal of this test process on real databases, organisations with members, and browsers signed in as them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from bson import ObjectId
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from infra.devstack.endpoints import ShardUris
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from portal.accounts import services as accounts
from portal.accounts import sessions
from portal.accounts.models import LinkPurpose, MailedLink, Member, Membership, Organisation
from portal.app import create_app
from portal.database import session, unit_of_work, utc_now
from portal.mail_plane import EXTENSION, Portal
from portal.migrations import migrate
from portal.permissions import MEMBER_ROLES, Role
from portal.settings import PortalSettings
from tests.builders import OPERATOR, PASSWORD, make_services

SOMEBODY = Actor(ActorKind.MEMBER, Door.PORTAL, "test@portal.test")
_numbers = itertools.count(1)
_CSRF = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


@dataclass
class Browser:
    """A test client that sends the form token of the page it saw last."""

    client: FlaskClient
    token: str = ""

    def get(self, path: str, **options: Any) -> TestResponse:
        return self._seen(self.client.get(path, **options))

    def post(self, path: str, fields: dict[str, Any] | None = None, **options: Any) -> TestResponse:
        """Send a form as a page of ours would."""
        if not self.token:
            self.get("/new-password")
        return self._seen(self.client.post(path, data={"csrf_token": self.token, **(fields or {})}, **options))

    def _seen(self, response: TestResponse) -> TestResponse:
        found = _CSRF.search(response.get_data(as_text=True)) if response.mimetype == "text/html" else None
        if found:
            self.token = found[1]
        elif response.status_code == 303:
            self.token = ""  # the session may have a new id, and a new form token with it
        return response


@dataclass
class MadeOrganisation:
    """An organisation with a member of each role and a tenant in the mail plane."""

    organisation: Organisation
    members: dict[Role, Member] = field(default_factory=dict)


@pytest.fixture(scope="session")
def mail_services(directory_uri: str, shard_uris: dict[str, ShardUris], redis_url: str) -> Iterator[MailServices]:
    services = make_services(directory_uri, shard_uris, redis_url)
    yield services
    services.close()


@pytest.fixture(scope="session")
def portal_settings(postgres_url: str, mail_services: MailServices) -> PortalSettings:
    return PortalSettings(postgres_url, mail_services.settings, "http://localhost")


@pytest.fixture(scope="session")
def portal_app(portal_settings: PortalSettings, mail_services: MailServices) -> Iterator[Flask]:
    """The application with its tables made."""
    app = create_app(portal_settings, mail_services)
    app.testing = False
    parts: Portal = app.extensions[EXTENSION]
    migrate(parts.database.engine)
    yield app
    parts.database.engine.dispose()


@pytest.fixture
def database(portal_app: Flask) -> Iterator[None]:
    """Let the test call services of the portal by itself: `session()` works inside."""
    parts: Portal = portal_app.extensions[EXTENSION]
    with parts.database.scope():
        yield


@pytest.fixture
def client(portal_app: Flask) -> Browser:
    """A browser where nobody is signed in."""
    return Browser(portal_app.test_client())


def make_member(mail: MailServices, *, password: str | None = PASSWORD, name: str = "Ada Lund") -> Member:
    """A member of no organisation, stored; the hash of the usual password is made once."""
    email = f"member{next(_numbers)}-{ObjectId()}@members.test"
    password_hash = _hash(mail, password) if password is not None else None
    member = Member(email=email, canonical_email=email, lookalike_email=email, name=name, password_hash=password_hash)
    with unit_of_work() as current:
        current.add(member)
        current.flush()
    return member


_hashes: dict[str, str] = {}


def _hash(mail: MailServices, password: str) -> str:
    if password not in _hashes:
        _hashes[password] = mail.passwords.hash_new(Secret(password))
    return _hashes[password]


def make_organisation(mail: MailServices, name: str | None = None, *, with_tenant: bool = True) -> MadeOrganisation:
    """An organisation with one member of each role; its tenant is there unless told otherwise."""
    unique = f"{next(_numbers)}-{ObjectId()}"
    owner = make_member(mail)
    made = MadeOrganisation(accounts.create_organisation(SOMEBODY, name or f"Organisation {unique}", "eu", owner))
    made.members[Role.OWNER] = owner
    with unit_of_work() as current:
        for role in MEMBER_ROLES[1:]:
            made.members[role] = member = make_member(mail)
            current.add(Membership(organisation_id=made.organisation.id, member_id=member.id, role=role))
        if with_tenant:
            tenant_id = mail.tenants.create(OPERATOR, f"Tenant {unique}", "eu")
            made.organisation.tenant = str(tenant_id)
            made.organisation.provisioned_at = utc_now()
            current.add(made.organisation)
    return made


@pytest.fixture
def organisation(database: None, mail_services: MailServices) -> MadeOrganisation:
    return make_organisation(mail_services)


def token_of(mail: MailServices, purpose: LinkPurpose, email: str) -> str:
    """The token of the latest link to an address, as it will be mailed."""
    wanted = select(MailedLink).where(MailedLink.email == email, MailedLink.purpose == purpose)
    link = session().scalars(wanted.order_by(MailedLink.created_at.desc())).first()
    assert link is not None, f"no link was made for {email}"
    assert link.sealed_token is not None, "its mail is queued already"
    return mail.sealing.open(f"mailed_link:{link.id}", link.sealed_token).decode()


SignIn = Callable[..., Browser]


@pytest.fixture
def sign_in(portal_app: Flask, database: None, organisation: MadeOrganisation) -> SignIn:
    """Return `sign_in(role, in_organisation=None)`: a browser signed in as that member."""

    def enter(role: Role = Role.OWNER, in_organisation: MadeOrganisation | None = None) -> Browser:
        return browser_of(portal_app, (in_organisation or organisation).members[role])

    return enter


def browser_of(app: Flask, member: Member) -> Browser:
    """A browser where this member is signed in, without going through the form."""
    token = sessions.open_session(member, "password", sessions.Browser("127.0.0.1", "test"))
    return with_token(app, token)


def cookie_of(browser: Browser) -> tuple[str, str]:
    """Name and value of the cookie by which this browser is signed in, to hand to another one."""
    found = browser.client.get_cookie("__Host-eider")
    assert found is not None
    return found.key, found.value


def with_token(app: Flask, token: Secret) -> Browser:
    """A browser whose cookie has this token."""
    found = Browser(app.test_client())
    with found.client.session_transaction(base_url="http://localhost") as kept:
        kept["signed_in"] = token.reveal_text()
    return found
