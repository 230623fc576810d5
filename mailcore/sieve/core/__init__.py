"""What every script may use without `require` (RFC 5228)."""

from __future__ import annotations

from mailcore.sieve.core import actions, matching, tests
from mailcore.sieve.forms import Extension

CORE = Extension("", forms=(*actions.FORMS, *tests.FORMS), tags=matching.TAGS)
