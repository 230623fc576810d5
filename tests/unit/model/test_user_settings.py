"""What a user may set, and what it is told where something is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from mailcore.errors import ValueInvalid
from mailcore.model.user_settings import DEFAULTS, SETTINGS, UserSettings


def test_kept_settings_come_back() -> None:
    changed = DEFAULTS.changed({"tags": ("Staff", "staff", " vip "), "targets": ("Ada@Example.org",), "spam_level": 10})
    stored: dict[str, Any] = {name: getattr(changed, name) for name in SETTINGS}
    stored |= {"tags": list(changed.tags), "of_a_later_version": 1}
    assert UserSettings.read(stored) == changed
    assert changed.tags == ("Staff", "vip")
    assert UserSettings.read({}) == DEFAULTS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spam_level", 101),
        ("spam_level", True),
        ("tags", ("x" * 129,)),
        ("tags", ("a\nb",)),
        ("targets", ("nobody",)),
        ("targets", tuple(f"u{n}@example.org" for n in range(21))),
        ("mta_relay", "http://example.org"),
        ("mta_relay", "smtp://user:secret@example.org"),
        ("mta_relay", "smtp://example.org:99999"),
        ("from_whitelist", ("a*b*",)),
        ("from_whitelist", ("a*b@example.org",)),
        ("uploads_sent", 1),
        ("undo_s", 31),
        ("undo_s", -1),
        ("undo_s", True),
        ("language", "x" * 21),
        ("meta_data", "x" * ((1 << 20) + 1)),
        ("password", "x"),
    ],
)
def test_wrong_settings_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueInvalid):
        DEFAULTS.changed({name: value})
