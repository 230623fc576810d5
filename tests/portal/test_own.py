"""Own account of mail users: signing in by the one service, and what they change there holds everywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pyotp
import pytest
import trustme
from bson import ObjectId
from flask import Flask
from webauthn.helpers import parse_authentication_options_json, parse_registration_options_json

from mailcore.errors import AppPasswordNeeded, AuthenticationFailed, ProtocolDisabled
from mailcore.model.access import Protocol, Scope
from mailcore.model.filter import of_user
from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from mailcore.model.tenant import Standing, State
from mailcore.services import MailServices
from portal.permissions import Role
from tests.builders import OPERATOR, PASSWORD, MadeUser
from tests.portal.conftest import Browser, MadeOrganisation
from tests.portal.people import browser_of_user, make_filter, register_passkey, text_of, user_of
from tests.services.authenticator import Authenticator
from tests.store.test_delivery import deliver, expunge_all, message

SignIn = Callable[..., Browser]
NEW = "another long password"


@pytest.fixture
def user_id(mail_services: MailServices, organisation: MadeOrganisation) -> UserId:
    return user_of(mail_services, organisation, "Ada Lovelace")


@pytest.fixture
def browser(portal_app: Flask, mail_services: MailServices, user_id: UserId) -> Browser:
    """A browser where the user is signed in."""
    return browser_of_user(portal_app, mail_services, user_id)


def address_of(mail: MailServices, user_id: UserId) -> str:
    return mail.users.get(user_id).address


def opens(mail: MailServices, user_id: UserId, password: str, protocol: Protocol = Protocol.PORTAL) -> bool:
    try:
        mail.authentication.login(address_of(mail, user_id), Secret(password), protocol, "")
    except (AuthenticationFailed, AppPasswordNeeded, ProtocolDisabled):
        return False
    return True


# -- signing in ---------------------------------------------------------------------------------


def test_sign_in_by_any_address_and_password(client: Browser, mail_services: MailServices, user_id: UserId) -> None:
    domain = address_of(mail_services, user_id).partition("@")[2]
    mail_services.addresses.create(OPERATOR, user_id, f"alias@{domain}")
    wrong = client.post("/account/sign-in", {"address": f"alias@{domain}", "password": "wrong password"})
    assert wrong.status_code == 400
    assert "Address or password is wrong." in text_of(wrong)
    answer = client.post("/account/sign-in", {"address": f"alias@{domain}", "password": PASSWORD})
    assert answer.headers["Location"] == "/account/"
    assert "Ada Lovelace" in text_of(client.get("/account/"))


def test_unknown_and_suspended_users_hear_no_more_than_needed(
    client: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    unknown = client.post("/account/sign-in", {"address": "nobody@nowhere.test", "password": PASSWORD})
    assert "Address or password is wrong." in text_of(unknown)
    mail_services.users.set_state(OPERATOR, user_id, State.SUSPENDED)
    told = client.post("/account/sign-in", {"address": address_of(mail_services, user_id), "password": PASSWORD})
    assert "Ask your administrator." in text_of(told)


def test_app_passwords_open_no_own_account(client: Browser, mail_services: MailServices, user_id: UserId) -> None:
    _, letters = mail_services.app_passwords.create(OPERATOR, user_id, "Phone")
    fields = {"address": address_of(mail_services, user_id), "password": letters.reveal_text()}
    assert client.post("/account/sign-in", fields).status_code == 400


def test_members_and_mail_users_are_kept_apart(sign_in: SignIn, browser: Browser) -> None:
    assert sign_in(Role.OWNER).get("/account/").status_code == 403
    assert browser.get("/overview").status_code == 403
    assert browser.get("/people/").status_code == 403


def test_first_password_must_be_changed_before_anything_else(
    client: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    mail_services.users.require_password_change(OPERATOR, user_id)
    answer = client.post("/account/sign-in", {"address": address_of(mail_services, user_id), "password": PASSWORD})
    assert answer.headers["Location"] == "/account/security/password"
    for path in ("/account/", "/account/filters/", "/account/app-passwords/"):
        assert client.get(path).headers["Location"] == "/account/security/password"
    client.get("/account/security/password")
    changed = client.post("/account/security/password", {"present": PASSWORD, "password": NEW, "again": NEW})
    assert changed.status_code == 303
    assert client.get("/account/").status_code == 200
    assert opens(mail_services, user_id, NEW)


def test_mail_to_a_user_is_in_the_language_of_the_pages(
    client: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    def language() -> str:
        return mail_services.users.get(user_id).settings.language

    client.post("/account/sign-in", {"address": address_of(mail_services, user_id), "password": PASSWORD})
    german, fields = {"Accept-Language": "de"}, {"present": PASSWORD, "password": NEW, "again": NEW}
    client.get("/account/security/password")
    assert client.post("/account/security/password", fields, headers=german).status_code == 303
    assert language() == "de"
    client.get("/account/")
    client.post("/account/security/password", {"present": NEW, "password": PASSWORD, "again": PASSWORD})
    assert language() == "de", "what is chosen once stays"
    client.get("/account/")
    client.post("/language", {"language": "en", "next": "/account/"})
    assert language() == "en"


def test_a_temporary_password_lets_its_owner_choose_another(
    client: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    temporary = mail_services.temporary_passwords.create(OPERATOR, user_id).reveal_text()
    client.post("/account/sign-in", {"address": address_of(mail_services, user_id), "password": temporary})
    assert client.get("/account/").headers["Location"] == "/account/security/password"
    client.get("/account/security/password")
    client.post("/account/security/password", {"present": temporary, "password": NEW, "again": NEW})
    assert client.get("/account/").status_code == 200
    assert opens(mail_services, user_id, NEW)


def test_a_code_is_asked_for_where_there_is_one(client: Browser, mail_services: MailServices, user_id: UserId) -> None:
    enrolment = mail_services.totp.begin(OPERATOR, user_id, "Eider", "x")
    totp = pyotp.TOTP(enrolment.seed.reveal_text())
    mail_services.totp.enable(OPERATOR, user_id, totp.now())
    codes = mail_services.second_factors.make_recovery_codes(OPERATOR, user_id)
    fields = {"address": address_of(mail_services, user_id), "password": PASSWORD}
    answer = client.post("/account/sign-in", fields)
    assert answer.headers["Location"].startswith("/account/second-step")
    assert client.get("/account/").headers["Location"].startswith("/account/sign-in")  # not yet
    client.get("/account/second-step")
    wrong = client.post("/account/second-step", {"code": "no such code"})
    assert "That was not right" in text_of(wrong)
    assert client.post("/account/second-step", {"code": codes[0].reveal_text()}).status_code == 303
    assert client.get("/account/").status_code == 200


def test_a_session_ends_when_the_password_is_changed_elsewhere(
    browser: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    assert browser.get("/account/").status_code == 200
    mail_services.users.set_password(OPERATOR, user_id, Secret(NEW))
    assert browser.get("/account/").headers["Location"].startswith("/account/sign-in")
    assert browser.get("/account/").headers["Location"].startswith("/account/sign-in")


def test_control_a_session_that_is_not_compared_goes_on(
    browser: Browser, mail_services: MailServices, user_id: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    from portal.accounts import sessions as all_sessions
    from portal.own import sessions

    monkeypatch.setattr(all_sessions, "still_good", lambda services, who: who)
    monkeypatch.setattr(
        sessions, "_living", lambda services, found: services.users.get(UserId(ObjectId(found.mail_user)))
    )
    mail_services.users.set_password(OPERATOR, user_id, Secret(NEW))
    assert browser.get("/account/").status_code == 200


# -- how one signs in ---------------------------------------------------------------------------


def test_password_is_changed_by_who_knows_the_present_one(
    browser: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    path = "/account/security/password"
    wrong = browser.post(path, {"present": "not it at all", "password": NEW, "again": NEW})
    assert wrong.status_code == 400
    differs = browser.post(path, {"present": PASSWORD, "password": NEW, "again": "x"})
    assert "The two passwords differ" in text_of(differs)
    short = browser.post(path, {"present": PASSWORD, "password": "short", "again": "short"})
    assert "at least 8 characters" in text_of(short)
    assert browser.post(path, {"present": PASSWORD, "password": NEW, "again": NEW}).status_code == 303
    assert browser.get("/account/").status_code == 200  # this browser goes on
    assert opens(mail_services, user_id, NEW)
    assert not opens(mail_services, user_id, PASSWORD)


def test_app_password_is_made_once_and_taken_back(
    browser: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    path = "/account/app-passwords/"
    refused = browser.post(path, {"description": "Phone", "opens": "all", "present": "not it at all"})
    assert refused.status_code == 400
    assert mail_services.app_passwords.list_of_user(user_id) == []
    page = text_of(browser.post(path, {"description": "Phone", "opens": "all", "present": PASSWORD}))
    letters = re.search(r"<code>([a-z]{4}(?: [a-z]{4}){3})</code>", page)
    assert letters is not None
    assert opens(mail_services, user_id, letters[1], Protocol.IMAP)
    assert letters[1] not in text_of(browser.get(path))
    [made] = mail_services.app_passwords.list_of_user(user_id)
    browser.post(f"{path}{made.id}/revoke")
    assert not opens(mail_services, user_id, letters[1], Protocol.IMAP)


def test_app_password_for_sending_alone(browser: Browser, mail_services: MailServices, user_id: UserId) -> None:
    browser.post("/account/app-passwords/", {"description": "Printer", "opens": "send", "present": PASSWORD})
    [made] = mail_services.app_passwords.list_of_user(user_id)
    assert made.scopes == {Scope.SMTP}


def test_apple_profile_has_an_app_password_of_its_own(
    browser: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    answer = browser.post("/account/app-passwords/apple.mobileconfig", {"present": PASSWORD})
    assert answer.mimetype == "application/x-apple-aspen-config"
    assert address_of(mail_services, user_id).encode() in answer.get_data()
    assert len(mail_services.app_passwords.list_of_user(user_id)) == 1
    assert browser.post("/account/app-passwords/apple.mobileconfig", {"present": "x"}).status_code == 303


def test_codes_are_set_up_and_turned_off(browser: Browser, mail_services: MailServices, user_id: UserId) -> None:
    page = text_of(browser.post("/account/security/codes", {"present": PASSWORD}))
    seed = re.search(r"<code>([A-Z2-7]{32})</code>", page)
    assert seed is not None
    browser.post("/account/security/codes/enable", {"code": pyotp.TOTP(seed[1]).now()})
    assert mail_services.users.get(user_id).enabled_2fa
    assert not opens(mail_services, user_id, PASSWORD, Protocol.IMAP)
    codes = text_of(browser.post("/account/security/recovery-codes", {"present": PASSWORD}))
    assert codes.count("<li><code>") >= 8
    browser.post("/account/security/second-factors/disable", {"present": PASSWORD})
    assert not mail_services.users.get(user_id).enabled_2fa


def test_passkey_is_removed_with_the_password(portal_app: Flask, mail_services: MailServices, user_id: UserId) -> None:
    device = register_passkey(mail_services, user_id)
    browser = browser_of_user(portal_app, mail_services, user_id)
    path = f"/account/security/passkeys/{device.id.hex()}/remove"
    browser.post(path, {"present": "not it at all"})
    assert mail_services.users.get(user_id).enabled_2fa
    browser.post(path, {"present": PASSWORD})
    assert not mail_services.users.get(user_id).enabled_2fa


def test_browsers_are_listed_and_signed_out(
    portal_app: Flask, browser: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    other = browser_of_user(portal_app, mail_services, user_id)
    assert other.get("/account/").status_code == 200
    page = text_of(browser.get("/account/security/"))
    ends = re.findall(r"/account/security/browsers/([0-9a-f-]{36})/end", page)
    assert len(ends) == 1
    browser.post(f"/account/security/browsers/{ends[0]}/end")
    assert other.get("/account/").status_code == 303
    assert browser.get("/account/").status_code == 200


def test_sign_out_everywhere_keeps_this_browser(
    portal_app: Flask, browser: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    other = browser_of_user(portal_app, mail_services, user_id)
    browser.post("/account/security/sign-out-everywhere")
    assert other.get("/account/").status_code == 303
    assert browser.get("/account/").status_code == 200


# -- what becomes of mail -----------------------------------------------------------------------


def test_rules_are_made_changed_and_deleted(browser: Browser, mail_services: MailServices, user_id: UserId) -> None:
    junk = next(
        one for one in mail_services.mailboxes.tree(user_id).entries if one.name == "Archive" or one.special_use
    )
    fields = {"name": "News", "sender": "news@", "mailbox": str(junk.id), "seen": "y", "is_on": "y", "stops": "y"}
    assert browser.post("/account/filters/new", fields).status_code == 303
    [rule] = mail_services.filters.list_of(of_user(user_id)).rules
    assert (rule.content.query.sender, rule.content.action.mailbox_id) == ("news@", junk.id)
    assert rule.content.stops
    page = text_of(browser.get("/account/filters/"))
    assert "from has “news@”" in page
    assert "mark as read" in page
    browser.post(f"/account/filters/{rule.id}", fields | {"name": "Newsletters", "is_on": ""})
    [rule] = mail_services.filters.list_of(of_user(user_id)).rules
    assert rule.content.name == "Newsletters"
    browser.post(f"/account/filters/{rule.id}/switch", {"on": "1"})
    assert not mail_services.filters.list_of(of_user(user_id)).rules[0].content.is_disabled
    wrong = browser.post("/account/filters/new", {"name": "x", "targets": "nonsense", "is_on": "y"})
    assert wrong.status_code == 400
    browser.post(f"/account/filters/{rule.id}/delete")
    assert mail_services.filters.list_of(of_user(user_id)).rules == ()


def test_rules_are_moved_one_place_at_a_time(browser: Browser, mail_services: MailServices, user_id: UserId) -> None:
    for name in ("one", "two", "three"):
        browser.post("/account/filters/new", {"name": name, "subject": name, "flagged": "y", "is_on": "y"})

    def names() -> list[str]:
        return [rule.content.name for rule in mail_services.filters.list_of(of_user(user_id)).rules]

    assert names() == ["one", "two", "three"]
    last = mail_services.filters.list_of(of_user(user_id)).rules[2].id
    browser.post(f"/account/filters/{last}/move", {"direction": "up"})
    assert names() == ["one", "three", "two"]
    browser.post(f"/account/filters/{last}/move", {"direction": "down"})
    browser.post(f"/account/filters/{last}/move", {"direction": "down"})  # at the end it stays
    assert names() == ["one", "two", "three"]


def test_others_rules_are_as_if_they_were_not(
    browser: Browser, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    """Attack W1: ids of a colleague's things lead nowhere."""
    others = make_filter(mail_services, organisation)
    for path in (f"/account/filters/{others}", f"/account/filters/{ObjectId()}"):
        assert browser.get(path).status_code == 404
    assert browser.post(f"/account/filters/{others}/move", {"direction": "up"}).status_code == 404
    assert browser.post(f"/account/filters/{others}/delete").status_code == 404


def test_automatic_answer_and_forwarding(browser: Browser, mail_services: MailServices, user_id: UserId) -> None:
    fields = {"is_on": "y", "subject": "Away", "text": "Back on Monday.", "start": "2030-01-01T08:00", "end": ""}
    assert browser.post("/account/away/answer", fields).status_code == 303
    autoreply = mail_services.autoreplies.get(user_id)
    assert (autoreply.is_on, autoreply.text) == (True, "Back on Monday.")
    assert autoreply.start is not None
    assert autoreply.start.year == 2030
    assert "2030-01-01T08:00" in text_of(browser.get("/account/away/"))
    wrong = browser.post("/account/away/answer", fields | {"end": "2029-01-01T08:00"})
    assert wrong.status_code == 400
    assert "This is before it begins." in wrong.text.partition("end-error")[2]
    browser.post("/account/away/forwarding", {"targets": "me@else.test", "keeps": "y"})
    assert mail_services.users.get(user_id).settings.targets == ("me@else.test",)
    nonsense = browser.post("/account/away/forwarding", {"targets": "me@else.test\nnonsense"})
    assert nonsense.status_code == 400
    assert "Mail cannot be sent on to “nonsense”." in text_of(nonsense)
    silent = browser.post("/account/away/answer", fields | {"text": " \n"})
    assert silent.status_code == 400
    assert "Write what the answer says." in text_of(silent)
    assert mail_services.autoreplies.get(user_id).text == "Back on Monday."
    assert browser.post("/account/away/answer", {"text": ""}).status_code == 303, "off, it need not say anything"


def test_a_rule_that_does_nothing_is_not_taken(browser: Browser, mail_services: MailServices, user_id: UserId) -> None:
    for fields, why in (
        ({"name": "Nothing", "sender": "x@", "is_on": "y"}, "Choose what is done with such mail."),
        ({"targets": "nonsense", "is_on": "y"}, "Mail cannot be sent on to “nonsense”."),
    ):
        answer = browser.post("/account/filters/new", fields)
        assert answer.status_code == 400
        assert why in text_of(answer)
    assert mail_services.filters.list_of(of_user(user_id)).rules == ()
    assert browser.post("/account/filters/new", {"sender": "x@", "stops": "y", "is_on": "y"}).status_code == 303


def test_deleted_mail_is_brought_back(browser: Browser, mail_services: MailServices, user_id: UserId) -> None:
    user = mail_services.users.get(user_id)
    made = MadeUser(user_id, user.tenant_id, user.address)
    deliver(mail_services, message(b"dear"), made)
    expunge_all(mail_services, made)
    page = text_of(browser.get("/account/deleted-mail"))
    since = re.search(r'name="since" value="([^"]+)"', page)
    assert since is not None
    browser.post("/account/deleted-mail", {"mailbox": "INBOX", "since": since[1].replace("&#43;", "+")})
    assert len(mail_services.mailboxes.open(user_id, "INBOX").uids) == 1
    assert browser.post("/account/deleted-mail", {"mailbox": "INBOX", "since": "nonsense"}).status_code == 400


def test_sign_ins_are_shown(browser: Browser, mail_services: MailServices, user_id: UserId) -> None:
    assert "Nothing yet" in text_of(browser.get("/account/activity"))
    opens(mail_services, user_id, "not it at all", Protocol.IMAP)
    opens(mail_services, user_id, PASSWORD, Protocol.IMAP)
    opens(mail_services, user_id, PASSWORD, Protocol.PORTAL)
    mail_services.auth_log.flush()
    page = text_of(browser.get("/account/activity"))
    assert "IMAP" in page
    assert "Portal" in page
    assert "worked" in page
    assert "refused" in page


def test_set_up_page_names_the_servers(browser: Browser, mail_services: MailServices) -> None:
    page = text_of(browser.get("/account/set-up"))
    assert mail_services.settings.hostname in page
    assert "data:image/svg+xml" in page


# -- keys, and taking mail along ----------------------------------------------------------------


def test_mail_is_encrypted_with_a_certificate(browser: Browser, mail_services: MailServices, user_id: UserId) -> None:
    path = "/account/keys/"
    nonsense = browser.post(path, {"keys": "no key at all", "of_stored": "y"})
    assert nonsense.status_code == 400
    for tick in ("of_stored", "of_forwarded"):
        refused = browser.post(path, {"keys": " ", tick: "y"})
        assert (refused.status_code, "Give a key" in refused.text) == (400, True), "nothing would be encrypted"
    certificate = trustme.CA().issue_cert("ada@example.test", key_type=trustme.KeyType.RSA).cert_chain_pems[0].bytes()
    assert browser.post(path, {"keys": certificate.decode(), "of_stored": "y"}).status_code == 303
    assert mail_services.users.get(user_id).encryption.of_stored
    user = mail_services.users.get(user_id)
    deliver(mail_services, message(b"confidential"), MadeUser(user_id, user.tenant_id, user.address))
    [stored] = messages_of(mail_services, user_id)
    assert b"application/pkcs7-mime" in stored
    assert b"with a file" in stored  # the subject stays
    assert "SHA" in text_of(browser.get(path)) or "Fingerprint" in text_of(browser.get(path))
    browser.post(path, {"keys": ""})
    assert not mail_services.users.get(user_id).encryption.has_keys


def messages_of(mail: MailServices, user_id: UserId) -> list[bytes]:
    view = mail.mailboxes.open(user_id, "INBOX")
    oids = [view.message_oid(row) for row in range(view.exists)]
    return [b"".join(content.read()) for content in mail.content.open_many(user_id, oids)]


# -- passkeys -----------------------------------------------------------------------------------


def test_a_passkey_is_made_and_signs_in(
    browser: Browser, client: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    """As the browser's script does it: options, the device's answer, and a form (Web Authentication §1.3)."""
    device, fields = Authenticator(), {"name": "Key", "present": PASSWORD}
    browser.get("/account/security/")
    refused = browser.post("/account/security/passkeys/options", fields | {"present": "not it at all"})
    assert (refused.status_code, refused.get_json()["error"]) == (400, "The password is wrong.")
    asked = browser.post("/account/security/passkeys/options", fields).get_json()
    made = device.create(parse_registration_options_json(asked), "http://localhost")
    browser.post("/account/security/passkeys", {"credential": json.dumps(made)})
    assert [one.name for one in mail_services.second_factors.status(user_id).passkeys] == ["Key"]
    assert browser.get("/account/").status_code == 200

    client.post("/account/sign-in", {"address": address_of(mail_services, user_id), "password": PASSWORD})
    assert "Use a passkey" in text_of(client.get("/account/second-step"))
    asked = client.post("/account/second-step/options").get_json()
    answer = device.get(parse_authentication_options_json(asked), "http://localhost")
    assert client.post("/account/second-step", {"credential": json.dumps(answer)}).status_code == 303
    assert client.get("/account/").status_code == 200


def test_another_devices_answer_signs_nobody_in(
    portal_app: Flask, client: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    register_passkey(mail_services, user_id)
    client.post("/account/sign-in", {"address": address_of(mail_services, user_id), "password": PASSWORD})
    client.get("/account/second-step")
    asked = client.post("/account/second-step/options").get_json()
    stranger = Authenticator()
    answer = stranger.get(parse_authentication_options_json(asked), "http://localhost")
    refused = client.post("/account/second-step", {"credential": json.dumps(answer)})
    assert "That was not right" in text_of(refused)
    assert client.post("/account/second-step", {"credential": "nonsense"}).status_code == 400
    assert Browser(portal_app.test_client()).post("/account/second-step/options").status_code == 403


def test_a_password_that_somebody_else_chose_opens_nothing_by_the_front_door_either(
    portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    user_id = user_of(mail_services, organisation, "Ada Lovelace")
    chosen = mail_services.temporary_passwords.create(OPERATOR, user_id).reveal_text()
    browser = Browser(portal_app.test_client())
    browser.post("/sign-in", {"email": mail_services.users.get(user_id).address, "password": chosen})
    for path in ("/account/", "/account/app-passwords/", "/account/filters/"):
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/account/security/password")


def test_whoever_is_suspended_is_told_so_at_the_front_door(
    portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    user_id = user_of(mail_services, organisation, "Ada Lovelace")
    mail_services.users.set_state(OPERATOR, user_id, State.SUSPENDED)
    said = {"email": mail_services.users.get(user_id).address, "password": PASSWORD}
    answer = Browser(portal_app.test_client()).post("/sign-in", said)
    assert (answer.status_code, "Ask your administrator" in answer.text) == (400, True)


def test_an_open_session_ends_when_the_organisation_is_closed_for_not_paying(
    browser: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    """As signing in does: nobody signs in then."""
    tenant_id = mail_services.users.get(user_id).tenant_id
    for standing, status in ((Standing.READ_ONLY, 200), (Standing.CLOSED, 303), (Standing.FULL, 200)):
        mail_services.tenants.set_standing(OPERATOR, tenant_id, standing)
        assert browser.get("/account/").status_code == status
