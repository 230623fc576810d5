"""Tables break no word in the middle, however wide the window; the line of the navigation is the page's."""

from __future__ import annotations

from typing import Final

import pytest
from flask import Flask

from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.roles import Role as TokenRole
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant
from portal.audit import services as audit
from portal.database import unit_of_work
from portal.languages import LANGUAGES
from portal.mail_plane import EXTENSION
from portal.members import services as members
from portal.navigation import ENTRIES, current
from portal.permissions import Role
from portal.staff import grants as support
from tests.builders import OPERATOR, PASSWORD
from tests.portal.conftest import make_organisation
from tests.portal.people import queued, user_of
from tests.portal.test_pages import look, served

BROKEN: Final = """() => {
  const broken = [];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    if (!text.parentElement.closest("td, .badge, .button")) continue;
    for (const word of text.data.matchAll(/[^\\s@.:\\/-]{2,24}(?=\\s|$)/g)) {
      if (word.index && !/\\s/.test(text.data[word.index - 1])) continue;
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(one => Math.round(one.top))).size > 1) broken.push(word[0]);
    }
  }
  return broken;
}"""
"""The words that stand on more than one line; addresses, dates and what has a hyphen may."""
SQUEEZED: Final = f"""() => {{
  const style = document.querySelector("table").style;
  style.tableLayout = "fixed";
  style.width = "12rem";
  return ({BROKEN})();
}}"""
VIEWS: Final = [[1280, "light"], [1100, "dark"], [1024, "light"], [800, "dark"]]
SYSTEM: Final = Actor(ActorKind.SYSTEM, Door.WORKER, "system")


CUT: Final = """() => [...document.querySelectorAll(".table-frame")]
  .filter(one => one.scrollWidth > one.clientWidth).map(one => `${one.scrollWidth} in ${one.clientWidth}`)"""
"""The tables that are wider than their frames."""
LONG: Final = "Wm" * 45


def found_in(app: Flask, mail: MailServices, paths: list[str], ask: str, language: str = "en") -> list[list[str]]:
    with app.extensions[EXTENSION].database.scope(), served(app) as base:
        made = make_organisation(mail, "Harbour Maps")
        for number in range(3):
            with unit_of_work():
                audit.record(
                    SYSTEM, "member.invited", f"a.very.long.name.{number}@of-a-long-domain.test",
                    organisation_id=made.organisation.id,
                )  # fmt: skip
        owner = Actor(ActorKind.MEMBER, Door.PORTAL, made.members[Role.OWNER].email)
        for role in (Role.BILLING, Role.ADMIN):
            email = f"a.very.long.name.{role}@of-a-long-domain.test"
            members.invite(mail, owner, made.organisation, Role.OWNER, email, role, language)
        user = user_of(mail, made, "Wilhelmina von Hohenstein")
        for held in (None, "administrator"):
            queued(mail, user, held=held)
        who = (made.members[Role.OWNER].email, PASSWORD)
        return [one["answer"] for one in look(base, who, paths, ask=ask, views=VIEWS, language=language)]


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_no_word_is_broken(portal_app: Flask, mail_services: MailServices, language: str) -> None:
    paths = ["/audit", "/deliveries", "/deliveries/waiting", "/people/", "/members"]
    assert found_in(portal_app, mail_services, paths, BROKEN, language) == [[]] * len(paths) * len(VIEWS)


def test_control_a_word_that_is_broken_is_seen(portal_app: Flask, mail_services: MailServices) -> None:
    assert found_in(portal_app, mail_services, ["/audit"], SQUEEZED)[0]


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_no_table_is_wider_than_its_frame(portal_app: Flask, mail_services: MailServices, language: str) -> None:
    """Whatever words there are in it: here the names and descriptions are of one long word each."""
    mail, views = mail_services, [[1280, "light"], [1100, "light"]]
    with portal_app.extensions[EXTENSION].database.scope(), served(portal_app) as base:
        made = make_organisation(mail, "Harbour Maps")
        owner = made.members[Role.OWNER]
        with unit_of_work():
            owner.name = LONG
        user = mail.users.get(user_of(mail, made, LONG))
        tenant_id, domain = made.organisation.tenant_id, user.address.partition("@")[2]
        for number, name in enumerate((LONG, "Of Wilhelmina von Hohenstein")):
            mail.shared_mailboxes.create(OPERATOR, tenant_id, f"shared{number}@{domain}", name)
            mail.groups.create(OPERATOR, tenant_id, f"group{number}@{domain}", name=name)
            mail.tokens.create(OPERATOR, owner_of_tenant(tenant_id), TokenRole.MANAGER, name)
            mail.app_passwords.create(OPERATOR, user.id, name)
            support.give(SYSTEM, made.organisation, name, 1, may_write=True)
        for held in (None, "administrator"):
            queued(mail, user.id, "a.very.long.name@of-a-long-domain.test", held=held)
        pages = ["/tokens", "/people/", f"/people/{user.id}", "/members", "/groups/", "/shared-mailboxes/"]
        pages += ["/deliveries/waiting", "/deliveries", "/audit", "/support"]
        who = (owner.email, PASSWORD)
        found = look(base, who, pages, ask=CUT, views=views, language=language)
        own = ["/account/app-passwords/", "/account/sent/"]
        found += look(base, (user.address, PASSWORD), own, ask=CUT, views=views, language=language, own=True)
    assert [one["status"] for one in found if one["status"] != 200] == []
    assert [(one["path"], one["width"], one["answer"]) for one in found if one["answer"]] == []


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/account/activity", "own_data.activity"),
        ("/account/deleted-mail", "own_data.deleted_mail"),
        ("/account/posts/", "own.home"),
        ("/people/imports/", "people.index"),
        ("/staff/organisations/1/features", "staff.home"),
        ("/staff/features", "staff_features.index"),
        ("/profile/security", None),
    ],
)
def test_one_line_of_the_navigation_is_that_of_the_page(portal_app: Flask, path: str, endpoint: str | None) -> None:
    url = portal_app.url_map.bind("localhost").build
    found = current(list(ENTRIES), path, url)
    assert (found and found.endpoint) == endpoint
