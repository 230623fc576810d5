"""`:copy`: do it and go on as if it had not been done (RFC 3894)."""

from __future__ import annotations

from dataclasses import replace

from mailcore.sieve.actions import FileInto, Redirect
from mailcore.sieve.call import Call
from mailcore.sieve.forms import Change, Extension, Modifier, Stored
from mailcore.sieve.run import Run, Text


def _prepare(_: Call, _values: tuple[Text, ...]) -> Change:
    def change(_: Run, action: Stored) -> Stored:
        return replace(action, copy=True) if isinstance(action, FileInto | Redirect) else action

    return change


_COPY = Modifier("copy", prepare=_prepare)

EXTENSION = Extension("copy", tags={"fileinto": (_COPY,), "redirect": (_COPY,)})
