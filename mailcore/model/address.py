"""Addresses and domain names: one canonical form, so that two people never hold what looks like one address.

The local part is read as a username of RFC 8265 (UsernameCaseMapped): fullwidth forms become
ordinary ones, case is folded, NFC; what has no place in an identifier (controls, joiners, bidi
marks, compatibility characters, symbols beyond ASCII) is refused. Then dots and the +label go, in
any script. The domain follows UTS 46, non-transitional; its canonical form is the lower-case A-label.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import idna

from mailcore.errors import AddressInvalid, DomainInvalid

MAX_LOCAL_BYTES = 64
MAX_ADDRESS_CHARACTERS = 1024
"""Nothing longer is looked at; no valid address comes near it."""

_ATEXT = r"[A-Za-z0-9!#$%&'+/=?^_`{|}~-]"
"""Of RFC 5322 §3.2.3, without the star: that is for wildcards."""
_PLAIN = re.compile(
    rf"({_ATEXT}+(?:\.{_ATEXT}+)*)@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?\.)*[A-Za-z][A-Za-z0-9]{{0,62}})",
    re.ASCII,
)
_ATOM = re.compile(rf"{_ATEXT}+", re.ASCII)
_WIDTH_TAGS = ("<wide>", "<narrow>")
_IDENTIFIER_CATEGORIES = frozenset({"Ll", "Lu", "Lo", "Lm", "Nd", "Mn", "Mc"})
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_JAMO = ((0x1100, 0x11FF), (0xA960, 0xA97C), (0xD7B0, 0xD7FB))


@dataclass(frozen=True, slots=True)
class Address:
    """An address that can receive mail here; build it by `Address.parse`."""

    local: str
    """As given, NFC, unquoted, with dots and label."""
    base: str
    """The local part that counts: folded, without dots and label."""
    label: str | None
    """What follows the first "+" of the local part, as given; None without "+"."""
    domain: str
    """Lower-case A-labels."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `local-part "@" domain` (RFC 5321 §4.1.2, RFC 6531 §3.3).

        A quoted local part is taken if it need not be quoted.

        Raises:
            AddressInvalid: it is none; the message says why.
        """
        if not isinstance(text, str) or len(text) > MAX_ADDRESS_CHARACTERS:
            raise AddressInvalid("longer than any address")
        plain = _PLAIN.fullmatch(text)
        if plain is not None and "--" not in text and len(plain[1]) <= MAX_LOCAL_BYTES and len(plain[2]) < 254:
            name, plus, label = plain[1].partition("+")
            base = name.replace(".", "").lower()
            if base and not name.endswith("."):
                return cls(plain[1], base, label if plus else None, plain[2].lower())
        local, domain = _split(text)
        local, base, label_or_none = _local_part(local)
        try:
            return cls(local, base, label_or_none, domain_name(domain, allow_root=False))
        except DomainInvalid as error:
            raise AddressInvalid(*error.details) from error

    @property
    def canonical(self) -> str:
        """What is unique among all addresses: base and A-label domain."""
        return f"{self.base}@{self.domain}"

    @property
    def display(self) -> str:
        """The address as people write it, domain in Unicode."""
        return f"{self.local}@{display_domain(self.domain)}"

    def __str__(self) -> str:
        return self.display


def canonical(address: str) -> str:
    """Return the canonical form of an address; that of a canonical form is itself.

    Raises:
        AddressInvalid: it cannot receive mail here.
    """
    return Address.parse(address).canonical


def domain_name(text: str, *, allow_root: bool = True) -> str:
    """Return a domain name as lower-case A-labels (UTS 46, non-transitional, STD3 rules).

    With `allow_root` a trailing dot, as DNS writes names, is taken and dropped.

    Raises:
        DomainInvalid: no host name, an address literal, or a number at the end.
    """
    if not text or len(text) > MAX_ADDRESS_CHARACTERS:
        raise DomainInvalid("the domain is empty or too long")
    if text.startswith("["):
        raise DomainInvalid("an IP address in brackets is not a domain we can host")
    if allow_root and text.endswith("."):
        text = text[:-1]
    try:
        mapped = idna.uts46_remap(text, std3_rules=True, transitional=False)
        if mapped.endswith("."):
            raise DomainInvalid("the domain ends in a dot")
        name = idna.encode(mapped, strict=True, uts46=True, std3_rules=True, transitional=False).decode("ascii").lower()
        idna.decode(name, strict=True, uts46=True, std3_rules=True)
    except (idna.IDNAError, UnicodeError, ValueError, IndexError) as error:
        raise DomainInvalid(f"not a domain name: {error}") from error
    if len(name) > 253:
        raise DomainInvalid("the domain is longer than 253 octets")
    if name.rpartition(".")[2].isdigit():
        raise DomainInvalid("a domain cannot end in a number")
    return name


def display_domain(name: str) -> str:
    """Return an A-label domain in Unicode."""
    if "xn--" not in name:
        return name
    try:
        return idna.decode(name, uts46=True, std3_rules=True)
    except (idna.IDNAError, UnicodeError):
        return name


# -- the local part -----------------------------------------------------------------------------


def _split(text: str) -> tuple[str, str]:
    if not text.startswith('"'):
        local, at, domain = text.rpartition("@")
        if not at:
            raise AddressInvalid('an address needs "@" and a domain')
        return local, domain
    content = []
    position = 1
    while position < len(text) and text[position] != '"':
        if text[position] == "\\":
            position += 1
        content.append(text[position : position + 1])
        position += 1
    if text[position : position + 2] != '"@':
        raise AddressInvalid("the quoted local part does not end before @")
    return "".join(content), text[position + 2 :]


def _local_part(text: str) -> tuple[str, str, str | None]:
    """Return the local part as given (NFC), its folded base, and its label."""
    local = unicodedata.normalize("NFC", _narrowed(text))
    if not _is_short(local):
        raise AddressInvalid(f"the part before @ is longer than {MAX_LOCAL_BYTES} octets")
    folded = _folded(local)
    for part in (*local.split("."), *folded.split(".")):
        _check_part(part)
    base = _folded(folded.partition("+")[0].replace(".", ""))
    if not base or folded.partition("+")[0].endswith("."):
        raise AddressInvalid("nothing is left before @ without dots and +label")
    _check_part(base)
    _check_direction(base)
    if not _is_short(base):
        raise AddressInvalid(f"the part before @ is longer than {MAX_LOCAL_BYTES} octets")
    _, plus, label = local.partition("+")
    return local, base, label if plus else None


def _is_short(text: str) -> bool:
    try:
        return len(text.encode("utf-8")) <= MAX_LOCAL_BYTES
    except UnicodeEncodeError as error:
        raise AddressInvalid("the part before @ is not Unicode text") from error


def _narrowed(text: str) -> str:
    """Replace fullwidth and halfwidth characters by the ordinary ones (RFC 8265 §3.3.1)."""
    if text.isascii():
        return text
    return "".join(
        unicodedata.normalize("NFKC", character)
        if unicodedata.decomposition(character).startswith(_WIDTH_TAGS)
        else character
        for character in text
    )


def _folded(text: str) -> str:
    """Fold case until nothing changes any more; a few letters need two turns."""
    if text.isascii():
        return text.lower()
    for _ in range(4):
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
        if folded == text:
            return text
        text = folded
    raise AddressInvalid("the part before @ has no stable form")


def _check_part(part: str) -> None:
    """Refuse what RFC 8264's IdentifierClass has no place for, and what is no atom (RFC 5322 §3.2.3)."""
    if not part:
        raise AddressInvalid("a dot at the beginning, at the end or next to a dot")
    if part.isascii():
        if _ATOM.fullmatch(part) is None:
            raise AddressInvalid("a character that only a quoted local part may hold; we host none such")
        return
    if unicodedata.category(part[0]).startswith("M"):
        raise AddressInvalid("a combining mark with nothing to combine with")
    for character in part:
        if not _is_identifier(character):
            raise AddressInvalid(f"U+{ord(character):04X} has no place in an address")


def _is_identifier(character: str) -> bool:
    if character.isascii():
        return _ATOM.fullmatch(character) is not None
    return (
        unicodedata.category(character) in _IDENTIFIER_CATEGORIES
        and unicodedata.normalize("NFKC", character) == character
        and not any(low <= ord(character) <= high for low, high in _JAMO)
        and not _is_ignorable(character)
    )


def _is_ignorable(character: str) -> bool:
    """Return whether a letter or mark is shown as nothing (Default_Ignorable_Code_Point)."""
    point = ord(character)
    return (
        point in {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0}
        or 0x180B <= point <= 0x180F
        or 0xFE00 <= point <= 0xFE0F
        or 0xE0000 <= point <= 0xE0FFF
    )


def _check_direction(base: str) -> None:
    """Refuse mixtures of directions that read as something else (RFC 5893 §2)."""
    if base.isascii() or not any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in base):
        return
    try:
        idna.check_bidi(base, check_ltr=True)
    except idna.IDNAError as error:
        raise AddressInvalid("letters of both directions mixed") from error
