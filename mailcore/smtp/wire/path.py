"""Reverse-path and forward-path (RFC 5321 §4.1.2), in ASCII or UTF-8 (RFC 6531 §3.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailcore.errors import AddressInvalid

LONGEST_PATH = 1024
"""Octets; RFC 5321 §4.5.3.1.3 asks for 256, and senders' bounce addresses exceed it."""

# Classes say what is not in them, for one up to U+10FFFF takes re 30 ms to compile.
_ATEXT = r'[^\x00-\x20"(),.:;<>@\[\\\]\x7f]'
_QUOTED = r'"(?:[^\x00-\x1f"\\\x7f]|\\[\x20-\x7e])*"'
_LOCAL_PART = rf"{_ATEXT}+(?:\.{_ATEXT}+)*|{_QUOTED}"
_LET_DIG = r"[^\x00-/:-@\[-^`{-\x7f]"
_LABEL = rf"{_LET_DIG}(?:(?:{_LET_DIG}|-)*{_LET_DIG})?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*\.?|\[[\x21-\x5a\x5e-\x7e]+\]"
_ROUTE = rf"(?:@(?:{_DOMAIN})(?:,@(?:{_DOMAIN}))*:)?"
_PATH = re.compile(rf"<{_ROUTE}(?P<local_part>{_LOCAL_PART})@(?P<domain>{_DOMAIN})>(?=$|\x20)")
_NULL = re.compile(r"<>(?=$|\x20)")
_POSTMASTER = re.compile(r"<(?P<local_part>postmaster)>(?=$|\x20)", re.IGNORECASE)
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_ESCAPED = re.compile(r"\\(.)")
_CONTROL = re.compile(r"[\u0080-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_MUST_ESCAPE = re.compile(r'(["\\])')


@dataclass(frozen=True, slots=True)
class Path:
    """A mailbox without its source route; `domain` is empty for the bare Postmaster alone."""

    local_part: str
    """Without quotes."""
    domain: str

    @property
    def address(self) -> str:
        """The mailbox as text, the local part quoted only where it must be."""
        local_part = self.local_part
        if _DOT_STRING.fullmatch(local_part) is None:
            local_part = '"' + _MUST_ESCAPE.sub(r"\\\1", local_part) + '"'
        return f"{local_part}@{self.domain}" if self.domain else local_part

    @property
    def is_ascii(self) -> bool:
        """Whether it may travel without SMTPUTF8."""
        return self.local_part.isascii() and self.domain.isascii()


def parse_reverse_path(text: str) -> tuple[Path | None, str]:
    """Read `Reverse-path` and return it with what follows; None is the null reverse-path.

    Raises:
        AddressInvalid: not a path.
    """
    match = _NULL.match(text)
    if match is not None:
        return None, text[match.end() :]
    return _parse(text)


def parse_forward_path(text: str) -> tuple[Path, str]:
    """Read `Forward-path` or `<Postmaster>` and return it with what follows.

    Raises:
        AddressInvalid: not a path.
    """
    match = _POSTMASTER.match(text)
    if match is not None:
        return Path(match["local_part"], ""), text[match.end() :]
    return _parse(text)


def _parse(text: str) -> tuple[Path, str]:
    """Read `Path`; a source route is read over (RFC 5321 §4.1.1.3)."""
    match = _PATH.match(text)
    if match is None or len(match[0].encode("utf-8", "surrogatepass")) > LONGEST_PATH:
        raise AddressInvalid("not a path")
    local_part = match["local_part"]
    if local_part.startswith('"'):
        local_part = _ESCAPED.sub(r"\1", local_part[1:-1])
    if _has_control(local_part) or _has_control(match["domain"]):
        raise AddressInvalid("control character in a path")
    return Path(local_part, match["domain"]), text[match.end() :]


def _has_control(text: str) -> bool:
    """Whether a control, a line separator, a direction override or half a character hides in it."""
    return not text.isascii() and _CONTROL.search(text) is not None
