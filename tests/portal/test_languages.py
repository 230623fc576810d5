"""English and German: every text has its German, with the same names in it."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from flask import Flask

from mailcore.model.tenant import Standing, State
from portal import languages
from portal.accounts.models import OrganisationState
from portal.notices import FOLDER as NOTICES
from portal.notices import Notice, render
from portal.showing import size, state

PORTAL: Final = Path(languages.__file__).parent
METHODS: Final = [("**.py", "python"), ("templates/**", "jinja2")]
KEYWORDS: Final = {"_": None, "gettext": None, "lazy_gettext": None, "ngettext": (1, 2), "_l": None, "N_": None}
GERMAN_STATES: Final = {"aktiv", "gesperrt", "Post abgelehnt", "geschlossen", "Senden gesperrt", "nur lesbar"}
NAMES: Final = re.compile(r"%\((\w+)\)s")


@cache
def texts() -> dict[str, set[str]]:
    """Part of the portal -> its texts in English; of a plural the singular."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, _line, text, _comments, _context in extract_from_dir(PORTAL, METHODS, keywords=KEYWORDS):
        parts = path.removeprefix("templates/").split("/")
        found[parts[0] if len(parts) > 1 else "frame"].add(text[0] if isinstance(text, tuple) else text)
    return found


def untranslated(part: str) -> list[str]:
    german = languages.translations("de")._catalog  # type: ignore[attr-defined]
    return sorted(text for text in texts()[part] if not (german.get(text) or german.get((text, 0))))


@pytest.mark.parametrize("part", sorted(texts()))
def test_every_text_has_its_german(part: str) -> None:
    assert untranslated(part) == []


def test_control_a_text_without_german_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(texts(), "members", {*texts()["members"], "A text that nobody translated"})
    assert untranslated("members") == ["A text that nobody translated"]


def german_of_each_file() -> dict[str, set[str]]:
    """Each text -> its Germans: one, or it depends on the order of files what people read."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in (languages.FOLDER / "de").glob("*.po"):
        for message in read_po(io.BytesIO(path.read_bytes()), locale="de"):
            found[str(message.id)].add(str(message.string))
    return {text: told for text, told in found.items() if text}


def test_no_text_has_two_germans() -> None:
    assert {text: told for text, told in german_of_each_file().items() if len(told) > 1} == {}


@pytest.mark.parametrize(("language", "shown"), [("en", "1.5 GB"), ("de", "1,5 GB")])
def test_sizes_are_written_as_the_language_does(portal_app: Flask, language: str, shown: str) -> None:
    with portal_app.test_request_context(headers={"Accept-Language": language}):
        assert size(1_500_000_000) == shown
        assert size(17) == "17 B"


@pytest.mark.parametrize("kind", [OrganisationState, State, Standing])
def test_every_state_has_a_word(portal_app: Flask, kind: type[StrEnum]) -> None:
    with portal_app.test_request_context(headers={"Accept-Language": "de"}):
        assert {state(one) for one in kind} <= GERMAN_STATES


def test_german_has_the_same_names_in_it() -> None:
    german = languages.translations("de")._catalog  # type: ignore[attr-defined]
    wrong = [
        text
        for text, told in german.items()
        if isinstance(text, str) and text and set(NAMES.findall(text)) != set(NAMES.findall(told))
    ]
    assert wrong == []


@pytest.mark.parametrize("event", sorted(path.stem for path in NOTICES.glob("*.txt")))
@pytest.mark.parametrize("language", sorted(languages.LANGUAGES))
def test_every_mail_is_written_in_both_languages(event: str, language: str) -> None:
    values = dict.fromkeys(("url", "organisation", "invited_by", "name", "role"), "X")
    values |= dict.fromkeys(("who", "cause", "refused", "complained", "day", "until", "limit", "good_from"), "X")
    values |= dict.fromkeys(("group", "subject", "user", "target"), "X")
    values |= {f"{side}_{name}": "X" for side in ("old", "new") for name in ("plan", "number", "unit")}
    values |= dict.fromkeys(re.findall(r"{{ (\w+) }}", (NOTICES / f"{event}.txt").read_text()), "X")
    values |= {"number": 2, "more": 2, "posts": [{"group": "X", "sender": "X", "subject": "X"}]}
    text = render(Notice(event, "a@x.test", language, values))
    assert text.splitlines()[0].strip()
