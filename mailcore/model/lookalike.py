"""Letters that people take for others (UTS 39): which ASCII address an address beyond ASCII looks like."""

from __future__ import annotations

import unicodedata
from functools import cache

from mailcore.errors import AddressInvalid


def lookalike(canonical: str) -> str | None:
    """Return the canonical ASCII address that people would read; None if no other than it is.

    Raises:
        AddressInvalid: letters of two scripts are mixed so that they look like one.
    """
    base, _, domain = canonical.rpartition("@")
    if base.isascii():
        return None
    letters = [_ascii_twin(character) for character in base]
    if None in letters:
        return None
    has_latin = any(character.isascii() and character.isalpha() for character in base)
    others = (character for character in base if not character.isascii())
    if has_latin and any(not unicodedata.name(character, "").startswith("LATIN") for character in others):
        raise AddressInvalid("letters of two scripts that look like one")
    return f"{''.join(filter(None, letters))}@{domain}"


@cache
def _ascii_twin(character: str) -> str | None:
    """Return the ASCII letter or digit that a character is taken for, itself if it is one, or None."""
    if character.isascii():
        return character
    from confusable_homoglyphs import confusables

    found = confusables.is_confusable(character, greedy=True, preferred_aliases=[]) or []
    twins = {twin["c"].lower() for one in found for twin in one["homoglyphs"] if twin["c"].isascii()}
    return min((twin for twin in twins if len(twin) == 1 and twin.isalnum()), default=None)
