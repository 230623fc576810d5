"""No table shows a secret, every sealed column turns to a new key, and no other column holds one (Attack W24)."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from sqlalchemy import text

from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.trust.sealing import Sealing
from portal import rotation
from portal.accounts import factors, services, sessions
from portal.accounts.models import LinkPurpose, PortalSession
from portal.database import session, unit_of_work
from portal.models import METADATA
from portal.permissions import Role
from tests.portal.conftest import MadeOrganisation, token_of

pytestmark = pytest.mark.usefixtures("database")

KEYS = {1: Secret(bytes(range(32))), 2: Secret(bytes(range(32, 64)))}


def sealed_columns() -> set[str]:
    return {
        f"{table.name}.{column.name}"
        for table in METADATA.sorted_tables
        for column in table.columns
        if column.name.startswith("sealed_")
    }


def test_every_sealed_column_is_known_to_the_rotation() -> None:
    assert sealed_columns() == {one.name for one in rotation.SEALED}


def test_control_a_column_that_nobody_registered_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "SEALED", rotation.SEALED[1:])
    assert sealed_columns() != {one.name for one in rotation.SEALED}


def everything() -> str:
    """Every row of every table as text, binary columns in hexadecimal."""
    session().rollback()
    rows = []
    for table in METADATA.sorted_tables:
        rows += session().execute(text(f'SELECT t::text FROM "{table.name}" t')).scalars()
    return "\n".join(rows)


def shows(secret: str) -> bool:
    dump = everything()
    forms = [secret, secret.encode().hex(), base64.b64encode(secret.encode()).decode().rstrip("=")]
    return any(form in dump for form in forms)


def made_secrets(mail: MailServices, organisation: MadeOrganisation) -> dict[str, str]:
    member = organisation.members[Role.OWNER]
    seed, pending = factors.new_seed(), factors.new_seed()
    token = sessions.open_session(member, "password", sessions.Browser("127.0.0.1", "test")).reveal_text()
    password = "a canary of a password"
    services.change_password(mail, _actor(), member, Secret(password))
    with unit_of_work() as current:
        member.sealed_totp_seed = factors.seal_seed(mail, member.id, seed)
        kept = current.get_one(PortalSession, sessions.digest(token))
        kept.sealed_new_totp_seed = factors.seal_seed(mail, kept.id, pending)
    services.ask_for_password(mail, member.email, "en")
    return {
        "seed": seed,
        "new seed": pending,
        "session": token,
        "password": password,
        "recovery code": factors.new_recovery_codes(member)[0],
        "link": token_of(mail, LinkPurpose.RESET, member.email),
    }


def _actor() -> object:
    from tests.portal.conftest import SOMEBODY

    return SOMEBODY


def test_no_table_shows_a_secret(mail_services: MailServices, organisation: MadeOrganisation) -> None:
    made = made_secrets(mail_services, organisation)
    assert [name for name, secret in made.items() if shows(secret)] == []


def test_control_a_secret_that_is_stored_as_it_is_is_found(
    mail_services: MailServices, organisation: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factors, "seal_seed", lambda _mail, _owner, seed: seed.encode())
    seed = factors.new_seed()
    with unit_of_work():
        member = organisation.members[Role.OWNER]
        member.sealed_totp_seed = factors.seal_seed(mail_services, member.id, seed)
    assert shows(seed)


def test_rotation_seals_anew_and_the_old_key_can_go(
    mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    made = made_secrets(mail_services, organisation)
    both = replace(mail_services, sealing=Sealing(KEYS))
    assert rotation.rotate(both) >= 3
    assert rotation.rotate(both) == 0
    session().expire_all()
    only_new = replace(mail_services, sealing=Sealing({2: KEYS[2]}))
    member = organisation.members[Role.OWNER]
    session().refresh(member)
    assert factors.open_seed(only_new, member.id, member.sealed_totp_seed or b"") == made["seed"]
    assert token_of(only_new, LinkPurpose.RESET, member.email) == made["link"]
    back = Sealing(KEYS)
    back._current = 1
    assert rotation.rotate(replace(mail_services, sealing=back)) >= 3, "what other tests stored can be opened again"
