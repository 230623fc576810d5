"""What the server says it can do (RFC 9051 §7.2.2): announced only where all of it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mailcore.imap.session import Session, State


class Facts(NamedTuple):
    """All that an announcement depends on, so that each is put together once."""

    signed_in: bool
    may_sign_in: bool
    may_encrypt: bool
    compressed: bool
    message_bytes: int


Shown = Callable[[Facts], bool]


@dataclass(frozen=True, slots=True)
class Capability:
    """One announced name, the RFC that defines it, and when it is shown."""

    name: str
    rfc: str
    shown: Shown
    value: Callable[[Facts], int] | None = None
    """What stands behind "=", where the name takes a number."""

    def text(self, facts: Facts) -> str:
        """Return the name as it is announced."""
        return self.name if self.value is None else f"{self.name}={self.value(facts)}"


def _always(_facts: Facts) -> bool:
    return True


def _before_login(facts: Facts) -> bool:
    return not facts.signed_in


def _signed_in(facts: Facts) -> bool:
    return facts.signed_in


def _compressible(facts: Facts) -> bool:
    return facts.signed_in and not facts.compressed


def _login_possible(facts: Facts) -> bool:
    return not facts.signed_in and facts.may_sign_in


def _login_impossible(facts: Facts) -> bool:
    return not facts.signed_in and not facts.may_sign_in


def _tls_possible(facts: Facts) -> bool:
    return not facts.signed_in and facts.may_encrypt


CAPABILITIES: tuple[Capability, ...] = (
    Capability("IMAP4rev1", "RFC 3501", _always),
    Capability("IMAP4rev2", "RFC 9051", _always),
    Capability("STARTTLS", "RFC 3501 §6.2.1", _tls_possible),
    Capability("LOGINDISABLED", "RFC 3501 §6.2.3", _login_impossible),
    Capability("AUTH=PLAIN", "RFC 4616", _login_possible),
    Capability("AUTH=LOGIN", "RFC 4422, draft-murchison-sasl-login", _login_possible),
    Capability("AUTH=OAUTHBEARER", "RFC 7628", _login_possible),
    Capability("AUTH=XOAUTH2", "RFC 4422, as Google documents it", _login_possible),
    Capability("SASL-IR", "RFC 4959", _before_login),
    Capability("LITERAL-", "RFC 7888", _before_login),
    Capability("LITERAL+", "RFC 7888", _signed_in),
    Capability("ID", "RFC 2971", _always),
    Capability("ENABLE", "RFC 5161", _always),
    Capability("CONDSTORE", "RFC 7162 §3.1", _always),
    Capability("QRESYNC", "RFC 7162 §3.2", _always),
    Capability("ESEARCH", "RFC 4731", _always),
    Capability("SEARCHRES", "RFC 5182", _always),
    Capability("PARTIAL", "RFC 9394", _always),
    Capability("WITHIN", "RFC 5032", _always),
    Capability("SAVEDATE", "RFC 8514", _always),
    Capability("OBJECTID", "RFC 8474", _always),
    Capability("PREVIEW", "RFC 8970", _always),
    Capability("SORT", "RFC 5256", _always),
    Capability("SORT=DISPLAY", "RFC 5957", _always),
    Capability("ESORT", "RFC 5267 §3", _always),
    Capability("THREAD=REFERENCES", "RFC 5256", _always),
    Capability("THREAD=ORDEREDSUBJECT", "RFC 5256", _always),
    Capability("INPROGRESS", "RFC 9585", _always),
    Capability("IDLE", "RFC 2177", _always),
    Capability("NOTIFY", "RFC 5465", _always),
    Capability("NAMESPACE", "RFC 2342", _always),
    Capability("CHILDREN", "RFC 3348", _always),
    Capability("LIST-EXTENDED", "RFC 5258", _always),
    Capability("LIST-STATUS", "RFC 5819", _always),
    Capability("STATUS=SIZE", "RFC 8438", _always),
    Capability("SPECIAL-USE", "RFC 6154", _always),
    Capability("CREATE-SPECIAL-USE", "RFC 6154", _always),
    Capability("MULTIAPPEND", "RFC 3502", _always),
    Capability("CATENATE", "RFC 4469", _always),
    Capability("BINARY", "RFC 3516", _always),
    Capability("REPLACE", "RFC 8508", _always),
    Capability("QUOTA", "RFC 9208", _always),
    Capability("QUOTA=RES-STORAGE", "RFC 9208", _always),
    Capability("ACL", "RFC 4314", _always),
    Capability("RIGHTS=texk", "RFC 4314", _always),
    Capability("LIST-MYRIGHTS", "RFC 8440", _always),
    Capability("METADATA", "RFC 5464", _always),
    Capability("COMPRESS=DEFLATE", "RFC 4978", _compressible),
    Capability("UIDPLUS", "RFC 4315", _always),
    Capability("MOVE", "RFC 6851", _always),
    Capability("UNSELECT", "RFC 3691", _always),
    Capability("UTF8=ACCEPT", "RFC 6855", _always),
    Capability("APPENDLIMIT", "RFC 7889", _always, lambda facts: facts.message_bytes),
)
"""In the order they are sent; an extension adds its row here."""


def capability_names(session: Session) -> bytes:
    """Return the names that hold now, separated by spaces."""
    return _names(
        Facts(
            signed_in=session.state is not State.NOT_AUTHENTICATED,
            may_sign_in=session.may_sign_in,
            may_encrypt=session.offers_tls and not session.encrypted,
            compressed=session.compressed,
            message_bytes=session.limits.message_bytes,
        )
    )


@lru_cache(maxsize=64)
def _names(facts: Facts) -> bytes:
    return " ".join(one.text(facts) for one in CAPABILITIES if one.shown(facts)).encode("ascii")


def capability_code(session: Session) -> bytes:
    """Return the names as a response code, for the greeting and after signing in."""
    return b"CAPABILITY " + capability_names(session)
