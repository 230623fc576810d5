"""Refusals on the portal's pages: whatever a service says, people read it in their own language."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from bson import ObjectId
from flask import Flask

from mailcore import errors
from mailcore.model.ids import UserId
from mailcore.services import MailServices
from portal import refusals
from portal.domains.errors import NO_ANSWER, OFF, TOKEN_GONE
from portal.domains.showing import provider_trouble
from portal.languages import translations
from portal.permissions import Role
from portal.refusals import KINDS, SAID, SPOKEN, of_detail, refusal
from tests.portal.conftest import MadeOrganisation, SignIn
from tests.portal.people import make_user

ROOT: Final = Path(__file__).parents[2]
BEHIND_PAGES: Final = (
    "mailcore/services/accounts/app_passwords.py",
    "mailcore/services/accounts/deleted_users.py",
    "mailcore/services/accounts/passkeys.py",
    "mailcore/services/accounts/renaming.py",
    "mailcore/services/accounts/shared_mailboxes.py",
    "mailcore/services/accounts/temporary_passwords.py",
    "mailcore/services/accounts/users.py",
    "mailcore/services/addresses/addresses.py",
    "mailcore/services/addresses/address_changes.py",
    "mailcore/services/addresses/domains.py",
    "mailcore/services/addresses/forwarded_addresses.py",
    "mailcore/services/addresses/groups.py",
    "mailcore/services/addresses/onward_addresses.py",
    "mailcore/services/content/encryption.py",
    "mailcore/services/inbound/autoreplies.py",
    "mailcore/services/inbound/filters.py",
    "mailcore/services/keeping/mail_exports.py",
    "mailcore/model/filter.py",
    "mailcore/model/forward_target.py",
    "portal/staff/approvals.py",
    "portal/staff/features.py",
    "portal/staff/grants.py",
    "portal/staff/limits.py",
    "portal/staff/services.py",
    "portal/billing/changes.py",
    "portal/billing/fitting.py",
    "portal/billing/services.py",
)
"""Where refusals come from that pages show."""
GERMAN: Final = {"Accept-Language": "de"}
OF_PROGRAMS: Final = ("a filter has no ", "an automatic reply has no ", "encryption has no ")
"""What only who gives fields of another name reads: forms have none."""
NAMES: Final = {one.__name__ for one in SPOKEN} | {"EncryptionFailed"}
"""An encryption that fails is told on as what is wrong with the key."""


def details() -> Iterator[str]:
    """Every text by which a service behind a page says what is wrong, with an x for what differs."""
    for path in BEHIND_PAGES:
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                said = node.exc.args[0]
                if ast.unparse(node.exc.func).rpartition(".")[2] in NAMES and isinstance(
                    said, ast.Constant | ast.JoinedStr
                ):
                    text = "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "x"
                        for part in (said.values if isinstance(said, ast.JoinedStr) else [said])
                    )
                    if not text.startswith(OF_PROGRAMS):
                        yield text


def unsaid() -> list[str]:
    return sorted({text for text in details() if of_detail(text) is None})


def leaves(kind: type[errors.MailError]) -> Iterator[type[errors.MailError]]:
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield below
            yield from leaves(below)


def test_what_services_behind_pages_say_is_in_the_table() -> None:
    assert unsaid() == []
    assert len(set(details())) > 60


def test_no_row_of_the_table_is_of_nothing() -> None:
    texts = {*details(), "a name has 1 to x characters", "a name has no control characters"}
    texts |= {"only x can be switched off", "an organisation's name is no web address"}
    first = {next((row for row in SAID if fits(row, text)), "") for text in texts}
    assert sorted(SAID.keys() - first) == []


def fits(row: str, text: str) -> bool:
    return re.fullmatch(re.escape(row).replace(r"\*", ".*"), text) is not None


def test_control_what_a_service_says_anew_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [(pattern, said) for pattern, said in refusals._PATTERNS if not pattern.fullmatch("give a reason")]
    monkeypatch.setattr(refusals, "_PATTERNS", kept)
    assert unsaid() == ["give a reason"]


@pytest.mark.parametrize("kind", sorted(leaves(errors.MailError), key=lambda one: one.__name__))
def test_every_error_has_a_german_sentence_and_nothing_of_its_detail(
    portal_app: Flask, kind: type[errors.MailError]
) -> None:
    error = errors.MailError.__new__(kind)
    error.details = ("some words for programs",)
    with portal_app.test_request_context(headers=GERMAN):
        said = refusal(error)
    german = {translations("de").gettext(str(text)) for text in KINDS.values()}
    assert said in german
    assert said not in {str(text) for text in KINDS.values()}, "it stays English"
    assert "programs" not in said


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "A deleted user keeps this address until Jan 2, 2031. Restore them, or give their addresses free"),
        ("de", "Ein gelöschter Benutzer behält diese Adresse bis 02.01.2031. Stellen Sie ihn wieder her oder geben"),
    ],
)
def test_until_when_a_deleted_user_keeps_an_address_is_told(portal_app: Flask, language: str, said: str) -> None:
    with portal_app.test_request_context(headers={"Accept-Language": language}):
        assert refusal(errors.AddressKept("for programs", until=datetime(2031, 1, 2, tzinfo=UTC))).startswith(said)


TROUBLES = {
    "PowerDNS answered 401": "PowerDNS antwortete mit 401",
    "Hetzner: ConnectTimeout": "Hetzner antwortete nicht, wie es sein soll",
    NO_ANSWER: "keine Antwort in der vorgesehenen Zeit",
    OFF: "der Support hat das Schreiben ausgeschaltet",
    TOKEN_GONE: "das Token ist nicht mehr lesbar",
}


@pytest.mark.parametrize(("said", "german"), TROUBLES.items())
def test_the_trouble_of_a_dns_provider_is_told_in_german(portal_app: Flask, said: str, german: str) -> None:
    with portal_app.test_request_context(headers=GERMAN):
        assert provider_trouble(said) == german


def test_a_german_page_refuses_in_german(
    organisation: MadeOrganisation, sign_in: SignIn, mail_services: MailServices
) -> None:
    user_id = make_user(mail_services, organisation)
    address = mail_services.users.get(UserId(ObjectId(user_id))).address
    browser = sign_in(Role.OWNER)
    answer = browser.post(f"/people/{user_id}/addresses/remove", {"address": address}, headers=GERMAN)
    page = browser.get(answer.headers["Location"], headers=GERMAN).text
    assert "Die Hauptadresse lässt sich nicht entfernen." in page
    assert "main address" not in page
