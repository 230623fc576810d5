"""Open sessions: whose right to be signed in ended is told so within seconds, on every process.

A connection that signed somebody in does three things, whatever its protocol:

    self._signed_in = services.sessions.open(identity, wake)    # after the login
    if self._signed_in.ended is not None: ...                   # when woken, and before each command:
                                                                # say it in the protocol's words, close
    self._signed_in.close()                                     # when the connection ends

Three ways lead to the end of a session. A notice through Redis says who changed. Every 3 s each
process asks the directory for the changes of the last minute: one small query, however many
sessions are open. Every 30 s all open sessions are compared, a thousand users a query. So nothing
is lost with Redis, and nothing is asked for each session.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from datetime import datetime
from random import SystemRandom
from typing import Any, Final

from bson import ObjectId

from mailcore.errors import MailError, TenantNotFound
from mailcore.model.access import CredentialKind
from mailcore.model.ids import TenantId, UserId
from mailcore.model.tenant import Tenant
from mailcore.services.accounts.identity import Identity
from mailcore.services.accounts.last_uses import LastUses
from mailcore.services.accounts.login_guard import Refusal
from mailcore.services.accounts.recent_users import RecentUsers
from mailcore.services.accounts.sign_in_rules import FAREWELLS, refusal
from mailcore.services.mailboxes.notices import Notices
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory
from mailcore.store.directory.sign_in_changes import SignInChange, SignInState
from mailcore.store.placement import Placement

log = logging.getLogger(__name__)
_RANDOM = SystemRandom()

POLL_S: Final = 3.0
COMPARE_S: Final = 30.0
SIGN_IN_AGAIN: Final = FAREWELLS[Refusal.WRONG]
LOOK_FOR_S: Final = 30.0
"""So long each change is looked at again: the session of a login that was under way opens after it."""
FORGET_FOR_S: Final = 2 * POLL_S
"""So long what is known of the owner is forgotten at each poll: a reading that was under way may bring back the old."""
GAP_S: Final = 0.2
"""Between two polls, however many notices come."""


class SignedIn:
    """One open session; `ended` says why it must end, None while it may go on."""

    __slots__ = ("_sessions", "_wake", "ended", "identity")

    def __init__(self, sessions: Sessions, identity: Identity, wake: Callable[[], None]) -> None:
        self._sessions = sessions
        self._wake = wake
        self.identity = identity
        self.ended: str | None = None

    def end(self, reason: str) -> None:
        """Have the connection say goodbye."""
        if self.ended is None:
            self.ended = reason
            log.info("session.ended", extra={"user": str(self.identity.user_id), "reason": reason})
            self._wake()

    def close(self) -> None:
        """Forget the session; closing twice is harmless."""
        self._sessions.remove(self)


class Sessions:
    """Every open session of this process."""

    def __init__(
        self, directory: Directory, placement: Placement, notices: Notices, uses: LastUses, recent: RecentUsers
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._notices = notices
        self._uses = uses
        self.recent_users = recent
        """What logins of this process have read; it hears of every change that this hears of."""
        self._open: dict[UserId, set[SignedIn]] = {}
        self._first_seen: dict[SignInChange, float] = {}
        self._stir = threading.Event()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        notices.on_sign_in_change = self._heard

    # -- sessions of this process ---------------------------------------------------------------

    def open(self, identity: Identity, wake: Callable[[], None]) -> SignedIn:
        """Look after a new session; `wake` is called once if it has to end, and must return at once.

        A change between the login's reading, which may be a second old, and this call is found by the next poll,
        which looks back a minute, by the `auth_version` and the credential of that reading.
        """
        signed_in = SignedIn(self, identity, wake)
        with self._lock:
            self._open.setdefault(identity.user_id, set()).add(signed_in)
        return signed_in

    def remove(self, signed_in: SignedIn) -> None:
        """Look after it no more."""
        user_id = signed_in.identity.user_id
        with self._lock:
            mine = self._open.get(user_id)
            if mine is not None:
                mine.discard(signed_in)
                if not mine:
                    del self._open[user_id]

    def count_of(self, user_id: UserId) -> int:
        """Return how many sessions of a user are open in this process."""
        return len(self._open.get(user_id, ()))

    # -- changes --------------------------------------------------------------------------------

    def user_changed(self, user_id: UserId, reason: str = SIGN_IN_AGAIN) -> None:
        """Tell every process that a user's rights to be signed in changed; call it after the change.

        Two round trips, and one more where sessions of the user are open here. If the caller dies before
        it, sessions end by the comparison every 30 s.
        """
        self._announce(user_id, reason, is_tenant=False)

    def tenant_changed(self, tenant_id: TenantId) -> None:
        """Tell every process that the rights of a tenant's users changed; as `user_changed`."""
        self._announce(tenant_id, SIGN_IN_AGAIN, is_tenant=True)

    def _announce(self, owner_id: UserId | TenantId, reason: str, *, is_tenant: bool) -> None:
        self.recent_users.forget(owner_id)
        self._directory.sign_in_changes.note(owner_id, reason, is_tenant=is_tenant)
        self._notices.publish_sign_in_change(owner_id.binary)
        self._stir.set()

    def start(self, spawn: Callable[[Callable[[], None]], Any]) -> None:
        """Begin to look after the sessions in a greenlet or thread that `spawn` makes."""
        spawn(self._poll_forever)

    def close(self) -> None:
        """Stop; last uses not noted yet are noted."""
        self._closed.set()
        self._stir.set()
        self._uses.flush()

    def poll(self) -> None:
        """End the sessions of whoever changed lately; one round trip, and one more if they are here."""
        at = time.monotonic()
        changes = self._directory.sign_in_changes.changed()
        known = self._first_seen
        self._first_seen = {change: known.get(change, at) for change in changes}
        for change in changes:
            if at - self._first_seen[change] > FORGET_FOR_S:
                continue
            if change.is_tenant:
                self._placement.forget_tenant(TenantId(change.owner_id))
            else:
                self._placement.forget(UserId(change.owner_id))
                self.recent_users.forget(change.owner_id)
        self._look_at([change for change in changes if at - self._first_seen[change] < LOOK_FOR_S])

    def compare_all(self) -> None:
        """Compare every open session with the directory."""
        self._compare(dict.fromkeys(list(self._open), SIGN_IN_AGAIN))

    def _poll_forever(self) -> None:
        compared_at = polled_at = time.monotonic()
        while True:
            self._stir.wait(POLL_S * _RANDOM.uniform(0.8, 1.2))
            if self._closed.wait(max(polled_at + GAP_S - time.monotonic(), 0)):
                return
            self._stir.clear()
            polled_at = time.monotonic()
            try:
                self._uses.flush()
                self.poll()
                if time.monotonic() - compared_at >= COMPARE_S:
                    compared_at = time.monotonic()
                    self.compare_all()
            except MailError as error:
                log.warning("sessions.poll.failed", extra={"reason": str(error)})
            except Exception:
                log.exception("sessions.poll.failed")

    def _heard(self, owner: bytes) -> None:
        """Look at once at whom a notice of another process names."""
        owner_id = ObjectId(owner)
        self.recent_users.forget(owner_id)
        if UserId(owner_id) in self._open or owner_id in self._tenants():
            self._stir.set()

    def _tenants(self) -> dict[ObjectId, list[UserId]]:
        """Return whose users have sessions here."""
        found: dict[ObjectId, list[UserId]] = defaultdict(list)
        for user_id, mine in list(self._open.items()):
            for one in list(mine)[:1]:
                found[one.identity.tenant_id].append(user_id)
        return found

    def _look_at(self, changes: list[SignInChange]) -> None:
        """Compare the sessions of users that changed, and of users of tenants that did."""
        tenants = self._tenants() if any(change.is_tenant for change in changes) else {}
        concerned: dict[UserId, str] = {}
        for change in changes:
            for user_id in tenants.get(change.owner_id, ()) if change.is_tenant else (UserId(change.owner_id),):
                if user_id in self._open:
                    concerned[user_id] = change.reason
        self._compare(concerned)

    # -- comparison -----------------------------------------------------------------------------

    def _compare(self, users: dict[UserId, str]) -> None:
        """End what may not go on of these users' sessions; `users` has what to say where only a number changed."""
        if not users:
            return
        states = self._directory.sign_in_changes.states(list(users))
        sessions = [(one, states.get(user_id)) for user_id in users for one in list(self._open.get(user_id, ()))]
        tokens = {
            one.identity.credential.id
            for one, _ in sessions
            if one.identity.credential.kind is CredentialKind.TOKEN and one.identity.credential.id is not None
        }
        at = now()
        alive = self._directory.api_tokens.alive(list(tokens), at) if tokens else set()
        for one, state in sessions:
            reason = self._why_ended(one.identity, state, alive, at)
            if reason is not None:
                one.end(users[one.identity.user_id] if reason == SIGN_IN_AGAIN else reason)

    def _why_ended(
        self, identity: Identity, state: SignInState | None, tokens: Collection[ObjectId | None], at: datetime
    ) -> str | None:
        if state is None:
            return "This login is gone"
        credential = identity.credential
        app_password = None
        if credential.kind is CredentialKind.APP_PASSWORD and credential.id is not None:
            app_password = state.app_passwords.get(credential.id)
            if app_password is None or not app_password.is_alive(at):
                return "This app password was revoked or has expired"
        if credential.kind is CredentialKind.TOKEN and credential.id not in tokens:
            return "This token was revoked or has expired"
        scopes = app_password.scopes if app_password is not None else frozenset()
        found = refusal(state.user, self._tenant(state.user.tenant_id), identity.protocol, credential.kind, scopes)
        if found is not None:
            return FAREWELLS[found]
        return None if state.user.auth_version == identity.auth_version else SIGN_IN_AGAIN

    def _tenant(self, tenant_id: TenantId) -> Tenant | None:
        try:
            return self._placement.tenant(tenant_id)
        except TenantNotFound:
            return None
