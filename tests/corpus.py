"""Messages made by others, for tests that want many: the corpus in the folder of EIDER_SHARED."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

SHARED = Path(os.environ.get("EIDER_SHARED") or Path(__file__).resolve().parent.parent.parent / "shared")
"""Default: the sibling folder `shared` of the checkout. Where it is missing, the corpus is empty."""

_LINE_END = re.compile(rb"\r\n|\r|\n")


def iter_corpus() -> Iterator[tuple[str, bytes]]:
    """Every message with its name (path within the corpus), byte for byte, in order."""
    folder = SHARED / "corpus"
    for path in _paths():
        yield path.relative_to(folder).as_posix(), path.read_bytes()


def corpus_as_crlf() -> Iterator[tuple[str, bytes]]:
    """The same as they arrive by LMTP: lines end with CRLF, without an mbox `From ` line."""
    for name, raw in iter_corpus():
        yield name, as_crlf(raw)


def as_crlf(raw: bytes) -> bytes:
    """Any line end made CRLF; a first line `From ` taken away."""
    if raw.startswith(b"From "):
        raw = raw[raw.find(b"\n") + 1 :]
    return _LINE_END.sub(b"\r\n", raw)


def as_let_in(raw: bytes) -> bytes:
    """What LMTP stores of a message with CRLF: not the fields in which senders play the filter of ours."""
    header, blank, body = raw.partition(b"\r\n\r\n")
    if raw.startswith(b"\r\n") or not re.search(rb"(?im)^x-(spam|rspamd-)", header):
        return raw
    fields = re.split(rb"\r\n(?![ \t])", header)
    kept = [field for field in fields if not field.lower().startswith((b"x-spam", b"x-rspamd-"))]
    return b"\r\n".join(kept) + blank + body


@lru_cache(maxsize=1)
def _paths() -> tuple[Path, ...]:
    return tuple(sorted((SHARED / "corpus").glob("*/**/*.eml")))
