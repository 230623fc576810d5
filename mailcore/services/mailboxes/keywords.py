"""Keywords of mailboxes: which bit a name has, and how new names are added (RFC 9051 §2.3.2)."""

from __future__ import annotations

from collections.abc import Iterable

from mailcore.errors import FlagInvalid, MailboxChanged, TooManyKeywords
from mailcore.model.flags import keyword_bit
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.services.mailboxes.commits import Commits, Patience
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.store.mailbox.head import DELETED


class Keywords:
    """Finds the bits of keywords; a name a mailbox never saw gets the next one, for ever."""

    def __init__(self, commits: Commits, mailboxes: Mailboxes) -> None:
        self._commits = commits
        self._mailboxes = mailboxes

    def bits(
        self, user_id: UserId, mailbox_id: MailboxId, names: Iterable[str], *, as_many_as_fit: bool = False
    ) -> dict[str, int]:
        """Return the bits of keywords by lower-case name; unknown ones are added to the mailbox first.

        No round trip if the view in memory knows them.

        Args:
            user_id: whose mailbox.
            mailbox_id: which mailbox.
            names: the keywords.
            as_many_as_fit: those the mailbox has no room for are 0, for a message that comes from another
                mailbox must not be kept from coming by its keywords.

        Raises:
            FlagInvalid: not a keyword.
            TooManyKeywords: one is one too many, and not only as many as fit were asked for.
            MailboxChanged: the mailbox is deleted.
            MailboxBusy: others kept adding keywords for 3 s.
        """
        wanted = distinct_keywords(names)
        for name in wanted.values():
            check_keyword(name)
        view = self._mailboxes.cached(user_id, mailbox_id)
        if view is not None:
            bits = {name: view.keyword_mask(name) for name in wanted}
            if all(bits.values()):
                return bits
        patience = Patience()
        heads = self._commits.stores(user_id).heads
        while True:
            state = heads.state_of(user_id, mailbox_id)
            if state is None or state.state == DELETED:
                raise MailboxChanged(mailbox_id)
            known = {name.lower(): keyword_bit(index) for index, name in enumerate(state.keywords)}
            missing = [name for lower, name in wanted.items() if lower not in known]
            room = DEFAULT_LIMITS.keywords - len(known)
            if len(missing) > room:
                if not as_many_as_fit:
                    raise TooManyKeywords(mailbox_id, len(known))
                missing = missing[:room]
            if not missing:
                if view is not None:
                    self._mailboxes.refresh(user_id, mailbox_id)  # so that the cached view has the names
                return {name: known.get(name, 0) for name in wanted}
            if heads.add_keywords(user_id, mailbox_id, len(known), missing) is None:
                patience.wait(mailbox_id)


def distinct_keywords(names: Iterable[str]) -> dict[str, str]:
    """Return keywords by lower-case name; of several spellings the first."""
    distinct: dict[str, str] = {}
    for name in names:
        distinct.setdefault(name.lower(), name)
    return distinct


def check_keyword(name: str) -> None:
    r"""Refuse what is no keyword: the grammar's atom of at most 255 bytes without "\" in front (RFC 9051 §9)."""
    if not name or len(name.encode()) > DEFAULT_LIMITS.keyword_bytes or not name.isascii() or not name.isprintable():
        raise FlagInvalid(name[:40])
    if any(character in '(){ %*"\\]' for character in name):
        raise FlagInvalid(name[:40])
