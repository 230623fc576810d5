"""Every page costs a bounded number of queries, however much there is to show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from flask import Flask
from sqlalchemy import Engine, event

from mailcore.services import MailServices
from portal.access import need_of
from portal.accounts.models import Membership
from portal.app import UNGUARDED
from portal.audit.services import record
from portal.database import session, unit_of_work
from portal.mail_plane import EXTENSION
from portal.members import queries as member_queries
from portal.permissions import Permission, Role, allows
from tests.portal.conftest import (
    SOMEBODY,
    Browser,
    MadeOrganisation,
    browser_of,
    make_member,
)
from tests.portal.test_pages import NO_PAGE

MOST: Final = 6
"""Queries of a page, those that find out who is signed in among them."""
MEMBERS: Final = 40


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements that are sent inside."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def pages(app: Flask) -> list[str]:
    """Every page of an owner without a name in its path: lists, forms, overviews."""
    found = []
    for rule in app.url_map.iter_rules():
        need = need_of(app.view_functions[rule.endpoint]) if rule.endpoint not in UNGUARDED else None
        is_page = "GET" in (rule.methods or set()) and rule.endpoint not in NO_PAGE
        if is_page and not rule.arguments and isinstance(need, Permission) and allows(Role.OWNER, need):
            found.append(str(rule))
    return found


def fill(mail: MailServices, made: MadeOrganisation, count: int) -> None:
    with unit_of_work() as current:
        for _ in range(count):
            member = make_member(mail)
            current.add(Membership(organisation_id=made.organisation.id, member_id=member.id, role=Role.AUDITOR))
        for number in range(count):
            record(SOMEBODY, "member.invited", f"{number}@x.test", organisation_id=made.organisation.id)


def costs(app: Flask, browser: Browser) -> dict[str, int]:
    engine = app.extensions[EXTENSION].database.engine
    found = {}
    for path in pages(app):
        browser.get(path)
        with counted(engine) as sent:
            assert browser.get(path).status_code < 500, path
        found[path] = len(sent)
    return found


def test_no_page_costs_more_queries_for_more_to_show(
    portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    browser = browser_of(portal_app, organisation.members[Role.OWNER])
    before = costs(portal_app, browser)
    fill(mail_services, organisation, MEMBERS)
    after = costs(portal_app, browser)
    assert {path: count for path, count in after.items() if count > MOST} == {}
    assert {path: (before[path], count) for path, count in after.items() if count > before[path]} == {}
    assert len(after) >= 8


def test_control_a_query_for_each_row_is_seen(
    portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = member_queries.list_members

    def lazily(one: Any) -> Any:
        found = real(one)
        for membership in found:
            session().refresh(membership)
        return found

    monkeypatch.setattr(member_queries, "list_members", lazily)
    fill(mail_services, organisation, MEMBERS)
    assert costs(portal_app, browser_of(portal_app, organisation.members[Role.OWNER]))["/members"] > MOST
