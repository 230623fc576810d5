"""The portal's landing page and its health."""

from __future__ import annotations

import pytest

from portal.app import create_app
from portal.settings import PortalSettings, SettingsInvalid


def test_health_is_ok_while_postgres_answers(postgres_url: str) -> None:
    client = create_app(PortalSettings(postgres_url)).test_client()
    response = client.get("/health")
    assert (response.status_code, response.json) == (200, {"status": "ok"})


def test_health_is_503_and_names_the_store_when_postgres_is_away() -> None:
    client = create_app(PortalSettings("postgresql://eider@127.0.0.1:1/eider")).test_client()
    response = client.get("/health")
    assert (response.status_code, response.json) == (503, {"status": "unavailable", "store": "postgres"})


def test_home_is_served_with_a_content_security_policy(postgres_url: str) -> None:
    response = create_app(PortalSettings(postgres_url)).test_client().get("/")
    assert response.status_code == 200
    assert "Eider" in response.text
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("environment", [{}, {"DATABASE_URL": "sqlite://"}], ids=["missing", "other kind"])
def test_settings_without_a_postgres_url_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsInvalid, match="DATABASE_URL"):
        PortalSettings.from_environment(environment)
