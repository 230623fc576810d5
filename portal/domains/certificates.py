"""How it stands with the certificates of a domain's hosts, in plain words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flask_babel import gettext as _

from mailcore.services.trust.host_certificates import HostCertificate
from portal.showing import date, utc


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """One line of the page."""

    host: str
    state: str
    badge: str
    text: str


def shown(found: Iterable[HostCertificate]) -> list[ShownCertificate]:
    """Return a line for each host."""
    return [ShownCertificate(one.host, *_words(one)) for one in found]


def _words(one: HostCertificate) -> tuple[str, str, str]:
    if one.ends_at is None and not one.error:
        return _("ordered"), "waiting", _("The authority looks at the host now; the certificate comes within minutes.")
    next_at = utc(one.next_at)
    if one.ends_at is None:
        return _("not issued"), "bad", _(
            "It was not issued: %(reason)s See that the host leads to us alone, and that no CAA record of your domain "
            "forbids it. We try again %(when)s.", reason=_sentence(one.error), when=next_at,
        )  # fmt: skip
    ends_at = date(one.ends_at)
    if one.error:
        return _("not renewed"), "waiting", _(
            "Good until %(date)s. It could not be renewed: %(reason)s We try again %(when)s.",
            date=ends_at, reason=_sentence(one.error), when=next_at,
        )  # fmt: skip
    if one.next_at is None:
        return _("good"), "good", _("Good until %(date)s.", date=ends_at)
    return _("good"), "good", _("Good until %(date)s; we renew it before.", date=ends_at)


def _sentence(reason: str) -> str:
    """Return what others said, ended by a full stop."""
    return reason.rstrip(". ") + "."
