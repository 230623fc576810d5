"""What the server says it can do (RFC 9051 §7.2.2): announced only where all of it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mailcore.imap.session import Session, State

Shown = Callable[[Session], bool]


@dataclass(frozen=True, slots=True)
class Capability:
    """One announced name, the RFC that defines it, and when it is shown."""

    name: str
    rfc: str
    shown: Shown
    value: Callable[[Session], int] | None = None
    """What stands behind "=", where the name takes a number."""

    def text(self, session: Session) -> str:
        """Return the name as it is announced."""
        return self.name if self.value is None else f"{self.name}={self.value(session)}"


def _always(_session: Session) -> bool:
    return True


def _before_login(session: Session) -> bool:
    return session.state is State.NOT_AUTHENTICATED


def _signed_in(session: Session) -> bool:
    return not _before_login(session)


def _compressible(session: Session) -> bool:
    return _signed_in(session) and not session.compressed


def _login_possible(session: Session) -> bool:
    return _before_login(session) and session.may_sign_in


def _login_impossible(session: Session) -> bool:
    return _before_login(session) and not session.may_sign_in


def _tls_possible(session: Session) -> bool:
    return _before_login(session) and session.offers_tls and not session.encrypted


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
    Capability("APPENDLIMIT", "RFC 7889", _always, lambda session: session.limits.message_bytes),
)
"""In the order they are sent; an extension adds its row here."""


def capability_names(session: Session) -> bytes:
    """Return the names that hold now, separated by spaces."""
    return " ".join(capability.text(session) for capability in CAPABILITIES if capability.shown(session)).encode(
        "ascii"
    )


def capability_code(session: Session) -> bytes:
    """Return the names as a response code, for the greeting and after signing in."""
    return b"CAPABILITY " + capability_names(session)
