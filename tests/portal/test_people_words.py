"""Every sentence on the pages of people and of the own account is there in German, with the same places to fill."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir

from portal.languages import translations

PORTAL = Path(__file__).parents[2] / "portal"
METHODS = [("**.py", "python"), ("**.html", "jinja2")]
FOLDERS = [PORTAL / part for part in ("people", "own", "templates/people", "templates/own")]
PLACES = re.compile(r"%\(\w+\)s")


def sentences() -> list[str]:
    """Every sentence in the sources, the singular where there are two."""
    keywords = {"_": None, "gettext": None, "lazy_gettext": None, "ngettext": (1, 2)}
    found = [
        message[0] if isinstance(message, tuple) else message
        for folder in FOLDERS
        for _, _, message, _, _ in extract_from_dir(folder, METHODS, keywords=keywords)  # type: ignore[arg-type]
    ]
    return sorted(set(found))


def test_every_sentence_is_there_in_german() -> None:
    german = translations("de")
    found = sentences()
    plural = {one for one in found if german.ngettext(one, one, 1) != one}
    same = {"Name", "Server", "Port", "Domain", "Code", "Text", "Spam", "Browser", "Passkeys", "optional"}
    missing = [one for one in found if german.gettext(one) == one and one not in plural | same]
    assert missing == []
    assert len(found) > 300


def test_translations_fill_the_same_places() -> None:
    german = translations("de")
    for one in sentences():
        for said in (german.gettext(one), german.ngettext(one, one, 2)):
            assert set(PLACES.findall(said)) == set(PLACES.findall(one)), one


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_there_is_something_to_read(folder: Path) -> None:
    assert any(folder.iterdir())
