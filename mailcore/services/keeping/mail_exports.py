"""Mail exports: a user asks for all mail as one file, a worker writes it, and it can be fetched for some days.

The file is written once, to the cold set, so that what is fetched is the same to the last byte however often a
download breaks off and goes on. A worker that dies leaves whole files of the archive behind; the next goes on there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

from bson import ObjectId

from mailcore import fault
from mailcore.errors import FileNotFound, MailError, NotFound, NotPermitted
from mailcore.model.actor import SYSTEM, Actor
from mailcore.model.event import Details
from mailcore.model.features import Feature
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import Spending
from mailcore.model.mail_export import KEPT_FOR, PIECES_KEPT_FOR, ExportState, MailExport
from mailcore.services.accounts.usage import Usage
from mailcore.services.events.audit import Audit
from mailcore.services.keeping.mail_archive import MailArchive
from mailcore.services.process.clock import now
from mailcore.store.placement import Placement
from mailcore.store.user.export_pieces import ExportPieces

LEASE_S: Final = 300
AGAIN: Final = timedelta(minutes=5)
MOST_TRIES: Final = 12

log = logging.getLogger(__name__)


class MailExports:
    """One file for each user: another request takes the place of the last."""

    def __init__(
        self, placement: Placement, archive: MailArchive, audit: Audit, usage: Usage, asks_per_day: int
    ) -> None:
        self._usage = usage
        self._asks_per_day = asks_per_day
        self._placement = placement
        self._exports = placement.directory.mail_exports
        self._archive = archive
        self._audit = audit

    def ask(self, actor: Actor, user_id: UserId) -> MailExport:
        """Ask for a file, or return the one that is being made; a worker begins within a minute.

        The file before is removed once another is on its way.

        Raises:
            UserNotFound: there is no such user.
            RateExceeded: so many were asked for within a day.
            NotPermitted: the tenant is without this feature now.
        """
        if not self._may_make(self._placement.home(user_id).tenant_id):
            raise NotPermitted("mail exports are switched off for this organisation: ask support")
        before = self._exports.find(user_id)
        if before is not None and before.state is ExportState.MAKING:
            return before
        home = self._placement.home(user_id)
        self._usage.spend_of(user_id, Spending.EXPORTS, self._asks_per_day)
        export = MailExport(user_id, home.tenant_id, ObjectId(), ExportState.MAKING, now(), now() + KEPT_FOR)
        with self._audit.of_user(actor, "export.asked", user_id, {"export": str(export.id)}):
            is_new = self._exports.begin(export)
        if not is_new:
            return self.get(user_id)
        if before is not None:
            try:
                home.shard.export_pieces.delete(user_id, before.id)
            except MailError as error:  # nobody reads them any more, and the database removes them in their time
                log.warning("mail_export.pieces_left", extra={"user": str(user_id), "reason": type(error).__name__})
        return export

    def find(self, user_id: UserId) -> MailExport | None:
        """Return the file a user asked for last, unless it is over; one round trip."""
        found = self._exports.find(user_id)
        return found if found is not None and found.expires_at > now() else None

    def get(self, user_id: UserId) -> MailExport:
        """As `find`.

        Raises:
            FileNotFound: there is none.
        """
        found = self.find(user_id)
        if found is None:
            raise FileNotFound(user_id)
        return found

    def fetch(self, actor: Actor, user_id: UserId, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield a user's file, or a range of it; told as an event before the first byte.

        Raises:
            FileNotFound: there is none, or it is not ready.
            StoreUnavailable: it cannot be told, or not be read.
        """
        export = self.get(user_id)
        if export.state is not ExportState.READY:
            raise FileNotFound(user_id)
        details: Details = {"export": str(export.id), "start": start}
        self._audit.happened(actor, "export.fetched", user_id, details)
        end = export.size_bytes if end is None else min(end, export.size_bytes)
        return self._pieces(user_id).read(user_id, export.id, start, end)

    def delete(self, actor: Actor, user_id: UserId) -> None:
        """Remove a user's file before its time, or stop its making.

        Raises:
            FileNotFound: there is none.
        """
        export = self._exports.find(user_id)
        if export is None:
            raise FileNotFound(user_id)
        self._remove(actor, export)

    # -- the worker's side --------------------------------------------------------------------

    def make_due(self) -> int:
        """Write files that were asked for and remove those that are over; return with how many there was work.

        Safe to run at any time, by many at once, and to be cut off.
        """
        done = 0
        while (export := self._exports.claim_due(LEASE_S)) is not None:
            done += 1
            try:
                self._work(export)
            except NotFound:  # the user was deleted: the pieces go with its mail, or are over before
                self._exports.delete(export)
            except MailError as error:
                fields = {"user": str(export.user_id), "reason": type(error).__name__}
                log.warning("mail_export.waits", extra=fields)
                self._put_off(export)
        return done

    def _work(self, export: MailExport) -> None:
        if export.expires_at <= now():
            self._remove(SYSTEM, export)
        elif export.state is ExportState.MAKING and self._may_make(export.tenant_id):
            self._make(export)
        else:
            self._exports.settle(export, now() + AGAIN)

    def _may_make(self, tenant_id: TenantId) -> bool:
        return self._placement.tenant(tenant_id).has(Feature.MAIL_EXPORTS)

    def _make(self, export: MailExport) -> None:
        if not export.mailboxes:
            mailboxes, expected = self._archive.plan(export.user_id)
            export = replace(export, mailboxes=mailboxes, expected_bytes=expected)
            if not self._exports.plan(export):
                return
        pieces = self._pieces(export.user_id)
        pieces.delete(export.user_id, export.id, export.size_bytes)
        written = self._write(export, pieces)
        if written is None:
            return
        ready = replace(written, state=ExportState.READY, expires_at=now() + KEPT_FOR)
        details: Details = {"export": str(export.id), "messages": ready.messages, "size_bytes": ready.size_bytes}
        with self._audit.of_user(SYSTEM, "export.made", export.user_id, details):
            self._exports.settle(ready, ready.expires_at)

    def _write(self, export: MailExport, pieces: ExportPieces) -> MailExport | None:
        """Write what is missing, and return how far it is then; None: another has claimed it.

        What was stored behind what this writer had noted is taken back then, for another may cut elsewhere.
        """
        at, messages, damaged = export.size_bytes, export.messages, export.damaged
        until = export.asked_at + PIECES_KEPT_FOR
        for stretch in self._archive.read(export.user_id, export.mailboxes, export.place):
            if not pieces.put(export, at, stretch.data, until):
                pieces.take_back(export)
                return None
            at, messages, damaged = at + len(stretch.data), messages + stretch.messages, damaged + stretch.damaged
            fault.hit("mail_export.after_piece")
            if stretch.place is not None:
                further = replace(export, place=stretch.place, size_bytes=at, messages=messages, damaged=damaged)
                if not self._exports.advance(further, LEASE_S):
                    pieces.take_back(export)
                    return None
                export = further
        return export

    def _put_off(self, export: MailExport) -> None:
        """Try again later what could not be done; a file that was tried often enough is given up."""
        try:
            found = self._exports.find(export.user_id)
            if found is None or found.claim != export.claim:
                return
            if found.state is ExportState.MAKING and found.tries >= MOST_TRIES:
                self._exports.settle(replace(found, state=ExportState.FAILED), found.expires_at)
            else:
                self._exports.settle(found, now() + AGAIN)
        except MailError:
            pass  # its lease ends

    def _remove(self, actor: Actor, export: MailExport) -> None:
        with self._audit.of_user(actor, "export.deleted", export.user_id, {"export": str(export.id)}):
            self._pieces(export.user_id).delete(export.user_id, export.id)
            self._exports.delete(export)

    def _pieces(self, user_id: UserId) -> ExportPieces:
        return self._placement.home(user_id).shard.export_pieces
