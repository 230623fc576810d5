"""`:index` and `:last`: one of several fields of a name (RFC 5260 §6)."""

from __future__ import annotations

from mailcore.sieve.forms import Extension, Kind, TagForm

_TAGS = (TagForm("index", Kind.NUMBER), TagForm("last"))

EXTENSION = Extension("index", tags={"header": _TAGS, "address": _TAGS, "date": _TAGS})
