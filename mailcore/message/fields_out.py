"""Writes header fields of messages that we compose (RFC 5322, RFC 2047, RFC 2231, RFC 6532).

Nothing that anybody says ends a field or begins one: text with a control character is refused, what is not plain is
written as base64 in encoded words, and lines are folded only between words.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote

from mailcore.errors import AddressInvalid, ValueInvalid
from mailcore.message.addresses import HeaderAddress
from mailcore.model.address import Address

LINE: Final = 76
LONGEST_WORD: Final = 200
"""A longer run without a blank goes into encoded words: a line has 998 octets at most (RFC 5322 §2.1.1)."""
ENCODED_BYTES: Final = 42
"""UTF-8 bytes in one encoded word, which has 75 characters at most (RFC 2047 §2)."""
PARAMETER_CHARACTERS: Final = 60
FIELD_CHARACTERS: Final = 100 * 1024
_NAME: Final = re.compile(r"[\x21-\x39\x3b-\x7e]{1,76}")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$&+.^_`{|}~-]{1,120}")
_UNFIT: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


def check_line(what: str, text: str, most: int = FIELD_CHARACTERS) -> str:
    """Return text that may stand in a header.

    Raises:
        ValueInvalid: it has a control character or a line end, or is too long.
    """
    if len(text) > most:
        raise ValueInvalid(f"{what}: at most {most} characters")
    if not text.isascii() or not text.isprintable():
        for character in text:
            if character != "\t" and unicodedata.category(character) in _UNFIT:
                raise ValueInvalid(f"{what}: no control characters or line ends")
    return text


def unstructured(name: str, text: str) -> bytes:
    """Return a field whose value is free text, such as Subject.

    Raises:
        ValueInvalid: the name is none, or see `check_line`.
    """
    if not _NAME.fullmatch(name):
        raise ValueInvalid(f"{name[:76]!r} is not the name of a header field")
    text = check_line(name, text)
    words = _plain_words(text)
    return _folded(name, words if words is not None else encoded_words(text))


def tokens(name: str, values: Iterable[bytes]) -> bytes:
    """Return a field of message ids, which nothing may encode (RFC 5322 §3.6.4)."""
    return _folded(name, [value.decode("ascii") for value in values])


def mailboxes(name: str, people: Sequence[HeaderAddress]) -> bytes:
    """Return a field with a list of mailboxes; addresses beyond ASCII stay as they are (RFC 6532).

    Raises:
        ValueInvalid: a name or an address cannot stand in a header.
    """
    words: list[str] = []
    for number, person in enumerate(people, 1):
        written = mailbox(person)
        words += [*written[:-1], written[-1] + ("," if number < len(people) else "")]
    return _folded(name, words)


def mailbox(person: HeaderAddress) -> list[str]:
    """Return `[display-name] angle-addr` as words between which a line may be folded.

    Raises:
        ValueInvalid: see `mailboxes`.
    """
    try:
        Address.parse(person.address)
    except AddressInvalid as error:
        raise ValueInvalid(f"{person.address[:100]!r} is not an address: {error.details[0]}") from error
    check_line("address", person.address)
    name = check_line("name", person.name.strip(), 1000)
    if not name:
        return [person.address]
    if name.isascii() and len(name) <= LONGEST_WORD and "=?" not in name:
        if _ATOMS.fullmatch(name):
            return [*name.split(" "), f"<{person.address}>"]
        return ['"' + re.sub(r'(["\\])', r"\\\1", name.replace("\t", " ")) + '"', f"<{person.address}>"]
    return [*encoded_words(name), f"<{person.address}>"]


def encoded_words(text: str) -> list[str]:
    """Return text as encoded words, each with whole characters (RFC 2047 §5)."""
    words: list[str] = []
    chunk = b""
    for character in text:
        encoded = character.encode("utf-8", "replace")
        if len(chunk) + len(encoded) > ENCODED_BYTES:
            words.append(_word(chunk))
            chunk = b""
        chunk += encoded
    if chunk:
        words.append(_word(chunk))
    return words


def parameter(name: str, value: str) -> list[str]:
    """Return a parameter as pieces that each begin with `;`-less `name=value` (RFC 2045 §5.1, RFC 2231 §3, §4).

    Raises:
        ValueInvalid: see `check_line`.
    """
    check_line(name, value, 1000)
    if value.isascii() and "\t" not in value and len(value) <= LONGEST_WORD:
        if _TOKEN.fullmatch(value):
            return [f"{name}={value}"]
        return [f'{name}="' + re.sub(r'(["\\])', r"\\\1", value) + '"']
    parts = [""]
    for character in value:
        encoded = quote(character, safe="")
        if len(parts[-1]) + len(encoded) > PARAMETER_CHARACTERS:
            parts.append("")
        parts[-1] += encoded
    parts[0] = "utf-8''" + parts[0]
    if len(parts) == 1:
        return [f"{name}*={parts[0]}"]
    return [f"{name}*{number}*={part}" for number, part in enumerate(parts)]


def structured(name: str, value: str, parameters: Sequence[tuple[str, str]]) -> bytes:
    """Return a field with a value and parameters, such as Content-Type.

    Raises:
        ValueInvalid: see `check_line`.
    """
    words = [value]
    for key, text in parameters:
        for piece in parameter(key, text):
            words[-1] += ";"
            words.append(piece)
    return _folded(name, words)


def _word(chunk: bytes) -> str:
    return f"=?utf-8?B?{base64.b64encode(chunk).decode()}?="


def _plain_words(text: str) -> list[str] | None:
    """Return the words of text that can stand as it is; None if only encoded words say exactly this."""
    if not text.isascii() or "\t" in text or "=?" in text or text != text.strip() or "  " in text:
        return None
    words = text.split(" ")
    return words if all(len(word) <= LONGEST_WORD for word in words) else None


def _folded(name: str, words: Sequence[str]) -> bytes:
    """Return a whole field, folded before the words that do not fit a line any more."""
    lines = [f"{name}:"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > LINE and len(lines[-1]) > len(name) + 1:
            lines.append("")
        lines[-1] += " " + word
    return "\r\n".join(lines).encode() + b"\r\n"
