"""The portal's first page, its health, its headers, and what it must know to start."""

from __future__ import annotations

import pytest
from flask import Flask

from mailcore.services import MailServices
from portal.app import Unguarded, create_app
from portal.settings import PortalSettings, SettingsInvalid
from tests.builders import SEALING_KEYS
from tests.portal.conftest import Browser

MAIL = {"MONGO_URI": "mongodb://127.0.0.1/directory", "EIDER_SEALING_KEYS": SEALING_KEYS}


def test_health_is_ok_while_postgres_answers(client: Browser) -> None:
    response = client.get("/health")
    assert (response.status_code, response.json) == (200, {"status": "ok"})


def test_health_is_503_and_names_the_store_when_postgres_is_away(mail_services: MailServices) -> None:
    settings = PortalSettings("postgresql://eider@127.0.0.1:1/eider", mail_services.settings)
    response = create_app(settings, mail_services).test_client().get("/health")
    assert (response.status_code, response.json) == (503, {"status": "unavailable", "store": "postgres"})


def test_a_page_is_503_and_says_that_mail_goes_on_when_postgres_is_away(mail_services: MailServices) -> None:
    settings = PortalSettings("postgresql://eider@127.0.0.1:1/eider", mail_services.settings)
    browser = create_app(settings, mail_services).test_client()
    with browser.session_transaction() as kept:
        kept["signed_in"] = "whatever"
    response = browser.get("/overview")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "10")
    assert "Your mail goes on as ever" in response.text


def test_home_is_served_with_a_content_security_policy(client: Browser) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert "Eider" in response.text
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_pages_speak_the_language_that_is_asked_for(client: Browser) -> None:
    assert 'lang="de"' in client.get("/", headers={"Accept-Language": "de-AT,de;q=0.9"}).text
    client.post("/language", {"language": "en"})
    assert 'lang="en"' in client.get("/", headers={"Accept-Language": "de"}).text


def test_a_view_without_a_need_does_not_start(
    portal_settings: PortalSettings, mail_services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    def added(app: Flask, *_: object) -> None:
        app.add_url_rule("/forgotten", "forgotten", lambda: "")

    monkeypatch.setattr("portal.app.languages.set_up", added)
    with pytest.raises(Unguarded, match="forgotten"):
        create_app(portal_settings, mail_services)


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        pytest.param({}, "DATABASE_URL", id="missing"),
        pytest.param({"DATABASE_URL": "sqlite://"}, "DATABASE_URL", id="other kind"),
        pytest.param({"EIDER_PORTAL_URL": "https://x.test/path"}, "EIDER_PORTAL_URL", id="path"),
        pytest.param({"EIDER_PORTAL_PROXIES": "many"}, "EIDER_PORTAL_PROXIES", id="proxies"),
        pytest.param({"EIDER_SEALING_KEYS": ""}, "EIDER_SEALING_KEYS", id="mail"),
    ],
)
def test_settings_that_are_wrong_are_named(environment: dict[str, str], names: str) -> None:
    with pytest.raises(SettingsInvalid, match=names):
        PortalSettings.from_environment(MAIL | environment)
