"""Sieve scripts of a user: at most one active, names in Unicode, bounded, compiled before they are stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailcore.errors import (
    ScriptExists,
    ScriptInvalid,
    ScriptIsActive,
    ScriptNotFound,
    ScriptTooLarge,
    TooManyScripts,
    ValueInvalid,
)
from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser, make_user


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


def names(services: MailServices, user: MadeUser) -> list[str]:
    """Of all scripts; a star marks the active one."""
    return [entry.name + "*" * entry.is_active for entry in services.scripts.list_of(user.user_id)]


def test_a_script_comes_back_to_the_letter(services: MailServices, user: MadeUser) -> None:
    text = '# Grüße\r\nrequire "fileinto";\nfileinto "Übrig";\r\n'
    services.scripts.put(OPERATOR, user.user_id, "Ferien-Skript ☀", text.encode())
    assert services.scripts.get(user.user_id, "Ferien-Skript ☀") == text
    (entry,) = services.scripts.list_of(user.user_id)
    assert (entry.name, entry.size_bytes, entry.is_active) == ("Ferien-Skript ☀", len(text.encode()), False)


def test_names_are_compared_in_their_one_form(services: MailServices, user: MadeUser) -> None:
    services.scripts.put(OPERATOR, user.user_id, "u\u0308", "keep;")
    services.scripts.put(OPERATOR, user.user_id, "ü", "discard;")
    assert names(services, user) == ["ü"]
    assert services.scripts.get(user.user_id, "u\u0308") == "discard;"


@pytest.mark.parametrize("name", ["", "a\nb", "a\0b", "\u2028", "x" * 513, "\x7f", "\ud800"])
def test_no_script_can_be_called_so(services: MailServices, user: MadeUser, name: str) -> None:
    with pytest.raises(ValueInvalid):
        services.scripts.put(OPERATOR, user.user_id, name, "keep;")
    assert names(services, user) == []


def test_at_most_one_is_active(services: MailServices, user: MadeUser) -> None:
    for name in ("one", "two"):
        services.scripts.put(OPERATOR, user.user_id, name, "keep;")
    services.scripts.activate(OPERATOR, user.user_id, "one")
    assert names(services, user) == ["one*", "two"]
    services.scripts.activate(OPERATOR, user.user_id, "two")
    assert names(services, user) == ["one", "two*"]
    services.scripts.put(OPERATOR, user.user_id, "two", "discard;")
    assert names(services, user) == ["one", "two*"], "what replaces the active script is active"
    with pytest.raises(ScriptNotFound):
        services.scripts.activate(OPERATOR, user.user_id, "three")
    assert names(services, user) == ["one", "two*"]
    services.scripts.activate(OPERATOR, user.user_id, "")
    assert names(services, user) == ["one", "two"]


def test_the_active_script_is_not_deleted(services: MailServices, user: MadeUser) -> None:
    services.scripts.put(OPERATOR, user.user_id, "s", "keep;")
    services.scripts.activate(OPERATOR, user.user_id, "s")
    with pytest.raises(ScriptIsActive):
        services.scripts.delete(OPERATOR, user.user_id, "s")
    services.scripts.activate(OPERATOR, user.user_id, "")
    services.scripts.delete(OPERATOR, user.user_id, "s")
    assert names(services, user) == []
    with pytest.raises(ScriptNotFound):
        services.scripts.delete(OPERATOR, user.user_id, "s")


def test_a_renamed_script_stays_what_it_is(services: MailServices, user: MadeUser) -> None:
    for name in ("a", "b"):
        services.scripts.put(OPERATOR, user.user_id, name, "keep;")
    services.scripts.activate(OPERATOR, user.user_id, "a")
    with pytest.raises(ScriptExists):
        services.scripts.rename(OPERATOR, user.user_id, "a", "b")
    with pytest.raises(ScriptNotFound):
        services.scripts.rename(OPERATOR, user.user_id, "c", "d")
    with pytest.raises(ValueInvalid):
        services.scripts.rename(OPERATOR, user.user_id, "a", "")
    services.scripts.rename(OPERATOR, user.user_id, "a", "c")
    assert names(services, user) == ["b", "c*"]


def test_what_cannot_run_is_not_stored(services: MailServices, user: MadeUser) -> None:
    with pytest.raises(ScriptInvalid) as refused:
        services.scripts.put(OPERATOR, user.user_id, "s", 'keep;\nfileinto "x";')
    assert refused.value.line == 2
    with pytest.raises(ScriptInvalid):
        services.scripts.put(OPERATOR, user.user_id, "s", b"\xff")
    assert names(services, user) == []


def test_number_and_size_are_bounded(services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    most = services.settings.limits.sieve.script_bytes
    largest = "#" + "x" * (most - 1)
    services.scripts.put(OPERATOR, user.user_id, "1", largest)
    with pytest.raises(ScriptTooLarge):
        services.scripts.put(OPERATOR, user.user_id, "1", largest + "x")
    with pytest.raises(ScriptTooLarge):
        services.scripts.check_room(user.user_id, "1", most + 1)
    monkeypatch.setattr(services.scripts, "_limits", replace(services.settings.limits, scripts=2))
    services.scripts.put(OPERATOR, user.user_id, "2", "keep;")
    for attempt in (
        lambda: services.scripts.put(OPERATOR, user.user_id, "3", "keep;"),
        lambda: services.scripts.check_room(user.user_id, "3", 1),
    ):
        with pytest.raises(TooManyScripts):
            attempt()
    services.scripts.check_room(user.user_id, "2", most)
    services.scripts.put(OPERATOR, user.user_id, "2", "stop;")


def test_a_strangers_scripts_are_not_there(services: MailServices, user: MadeUser) -> None:
    stranger = make_user(services)
    services.scripts.put(OPERATOR, stranger.user_id, "s", "keep;")
    with pytest.raises(ScriptNotFound):
        services.scripts.get(user.user_id, "s")
    with pytest.raises(ScriptNotFound):
        services.scripts.activate(OPERATOR, user.user_id, "s")
    assert names(services, user) == []
