"""Sealing the portal's secrets anew, so that an older key can be taken out of the environment."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select, tuple_, update
from sqlalchemy.orm import InstrumentedAttribute

from mailcore.services import MailServices
from mailcore.services.trust.sealing import SealBroken
from portal.accounts.models import MailedLink, Member, PortalSession
from portal.database import session, unit_of_work
from portal.domains.models import DomainClaim, RecordWriting
from portal.people.models import PeopleImportRow

log = logging.getLogger(__name__)

PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column with sealed values, the columns that say which row it is, and from those what it is sealed for."""

    column: InstrumentedAttribute[bytes | None]
    key: tuple[InstrumentedAttribute[Any], ...]
    purpose: Callable[..., str]

    @property
    def name(self) -> str:
        """For people and tests."""
        return f"{self.column.class_.__tablename__}.{self.column.key}"


SEALED: Final = (
    SealedColumn(Member.sealed_totp_seed, (Member.id,), "member_totp:{}".format),
    SealedColumn(PortalSession.sealed_new_totp_seed, (PortalSession.id,), "member_totp:{}".format),
    SealedColumn(MailedLink.sealed_token, (MailedLink.id,), "mailed_link:{}".format),
    SealedColumn(DomainClaim.sealed_credentials, (DomainClaim.id,), "dns.credentials:{}".format),
    SealedColumn(RecordWriting.sealed_access, (RecordWriting.claim_id,), "dns.writing:{}".format),
    SealedColumn(
        PeopleImportRow.sealed_password,
        (PeopleImportRow.import_id, PeopleImportRow.line),
        "people_import.password:{}:{}".format,
    ),
)
"""Every column that holds sealed values; a test looks at all tables and finds no other."""


def rotate(mail: MailServices) -> int:
    """Seal anew what the newest key did not seal, and return how many; may run at any time, as often as one likes.

    A value that somebody changes meanwhile is sealed by the newest key anyway.
    """
    return sum(_rotate(mail, one) for one in SEALED)


def _rotate(mail: MailServices, sealed: SealedColumn) -> int:
    changed, after = 0, None
    while True:
        wanted = select(*sealed.key, sealed.column).where(sealed.column.is_not(None)).order_by(*sealed.key).limit(PAGE)
        if after is not None:
            wanted = wanted.where(tuple_(*sealed.key) > tuple_(*after))
        rows = session().execute(wanted).all()
        for *key, value in rows:
            changed += _seal_anew(mail, sealed, key, value)
        if len(rows) < PAGE:
            return changed
        after = list(rows[-1][:-1])


def _seal_anew(mail: MailServices, sealed: SealedColumn, key: list[Any], value: bytes) -> int:
    if mail.sealing.is_current(value):
        return 0
    purpose = sealed.purpose(*key)
    try:
        anew = mail.sealing.seal(purpose, mail.sealing.open(purpose, value))
    except SealBroken:
        log.error("sealing.broken", extra={"field": sealed.name})  # noqa: TRY400
        return 0
    same = [column == part for column, part in zip(sealed.key, key, strict=True)]
    with unit_of_work() as current:
        done = current.execute(
            update(sealed.column.class_).where(*same, sealed.column == value).values({sealed.column.key: anew})
        )
    return int(done.rowcount)  # type: ignore[attr-defined]
