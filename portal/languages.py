"""English and German: catalogues are text (`translations/de/<feature>.po`), read when the process starts."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import Flask, request, session
from flask_babel import Babel, Domain, get_locale

from portal.access import signed_in

LANGUAGES: Final = {"en": "English", "de": "Deutsch"}
FOLDER: Final = Path(__file__).parent / "translations"


class TextDomain(Domain):
    """Reads catalogues as they are written, so that nothing compiled has to be kept."""

    def get_translations(self) -> NullTranslations:
        """Return the catalogue of the request's language."""
        return translations(str(get_locale()))


@cache
def translations(language: str) -> NullTranslations:
    """Return all catalogues of a language as one."""
    joined = Catalog(locale=language if language in LANGUAGES else "en")
    for path in sorted((FOLDER / language).glob("*.po")) if language in LANGUAGES else ():
        with path.open("rb") as file:
            for message in read_po(file, locale=language):
                if message.id and not message.fuzzy:
                    joined[message.id] = message
    compiled = io.BytesIO()
    write_mo(compiled, joined)
    compiled.seek(0)
    return Translations(compiled, domain="messages")


def set_up(app: Flask) -> None:
    """Choose the language of each request: the member's, the one chosen in this browser, the one it asks for."""
    babel = Babel(app, locale_selector=_language, default_translation_directories=str(FOLDER))
    babel.domain_instance = TextDomain()
    app.add_template_global(get_locale)


def _language() -> str:
    who = signed_in()
    chosen = (who.member.language if who is not None and who.member is not None else None) or session.get("language")
    if chosen in LANGUAGES:
        return str(chosen)
    return request.accept_languages.best_match(list(LANGUAGES)) or "en"
