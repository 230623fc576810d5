"""Tokens of an organisation do not outlive the right of the member who made them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mailcore.model.roles import Role as TokenRole
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant
from portal.database import ENQUEUE, session
from portal.members import services as members
from portal.permissions import Role
from portal.tokens import services as tokens
from tests.builders import OPERATOR
from tests.portal.conftest import SOMEBODY, MadeOrganisation, SignIn
from tests.portal.test_audit import of_mail, take_over


def make_token(sign_in: SignIn, role: Role) -> Secret:
    """What a member of a role makes on the page."""
    page = sign_in(role).post("/tokens/add", {"description": f"of {role}", "role": "root", "days": ""}).text
    found = re.search(r"\b[0-9a-f]{40}\b", page)
    assert found is not None
    return Secret(found[0].encode())


def work(mail: MailServices, jobs: list[tuple[str, dict[str, Any]]]) -> int:
    """Do what was put on the queue."""
    assert {name for name, _ in jobs} <= {"portal.revoke_tokens"}
    return sum(tokens.revoke_left_over(mail, arguments["organisation_id"]) for _, arguments in jobs)


def check_ends_with_its_maker(made: MadeOrganisation, sign_in: SignIn, mail: MailServices, to: Role | None) -> None:
    """`to`: the role that the maker gets; None: the maker is removed."""
    owners, admins = make_token(sign_in, Role.OWNER), make_token(sign_in, Role.ADMIN)
    owner = owner_of_tenant(made.organisation.tenant_id)
    operators = mail.tokens.create(OPERATOR, owner, TokenRole.MANAGER, "of an operator")[1]
    jobs: list[tuple[str, dict[str, Any]]] = []
    session().info[ENQUEUE] = lambda name, **arguments: jobs.append((name, arguments))
    admin = made.members[Role.ADMIN]
    if to is None:
        assert members.remove(SOMEBODY, made.organisation, Role.OWNER, admin.id)
    else:
        assert members.change_role(SOMEBODY, made.organisation, Role.OWNER, admin.id, to)
    assert work(mail, jobs) == 1
    assert mail.tokens.find(admins) is None
    assert mail.tokens.find(owners) is not None
    assert mail.tokens.find(operators) is not None
    assert work(mail, jobs) == 0, "twice is once"
    take_over(mail, made)
    [told] = [event for event in of_mail(made) if event.what == "token.revoked"]
    assert (told.actor_kind, told.details["wanted"]["made_by"]) == ("system", admin.email)


@pytest.mark.parametrize("to", [None, Role.HELPDESK, Role.BILLING])
def test_a_token_ends_with_the_right_of_its_maker(
    organisation: MadeOrganisation, sign_in: SignIn, mail_services: MailServices, to: Role | None
) -> None:
    check_ends_with_its_maker(organisation, sign_in, mail_services, to)


def test_a_token_stays_where_its_maker_may_make_more(
    organisation: MadeOrganisation, sign_in: SignIn, mail_services: MailServices
) -> None:
    value = make_token(sign_in, Role.OWNER)
    second, owner = organisation.members[Role.ADMIN], organisation.members[Role.OWNER]
    assert members.change_role(SOMEBODY, organisation.organisation, Role.OWNER, second.id, Role.OWNER)
    assert members.change_role(SOMEBODY, organisation.organisation, Role.OWNER, owner.id, Role.ADMIN)
    assert tokens.revoke_left_over(mail_services, organisation.organisation.id) == 0
    assert mail_services.tokens.find(value) is not None


def test_control_tokens_that_outlive_their_maker_are_seen(
    organisation: MadeOrganisation, sign_in: SignIn, mail_services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = {member.email for member in organisation.members.values()}
    monkeypatch.setattr(tokens, "_makers", lambda _: everybody)
    with pytest.raises(AssertionError):
        check_ends_with_its_maker(organisation, sign_in, mail_services, None)
