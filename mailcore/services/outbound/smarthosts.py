"""Smarthosts: through which server somebody's mail leaves, where it is not the MX of each domain."""

from __future__ import annotations

from mailcore.errors import TenantNotFound, UserNotFound, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.ids import TenantId, UserId
from mailcore.model.secret import Secret
from mailcore.model.tenant import StoredSmarthost
from mailcore.services.events.audit import Audit
from mailcore.services.trust.sealing import Sealing
from mailcore.settings import Smarthost, parse_smarthost
from mailcore.store.directory import Directory
from mailcore.store.placement import Home, Placement


class Smarthosts:
    """Keeps them, passwords sealed."""

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        sealing: Sealing,
        audit: Audit,
        of_platform: Smarthost | None,
    ) -> None:
        """`of_platform` takes the mail of those that have none of their own."""
        self._directory = directory
        self._placement = placement
        self._sealing = sealing
        self._audit = audit
        self._of_platform = of_platform

    def of(self, home: Home, *, by_itself: bool = False) -> Smarthost | None:
        """Return through which server a user sends: the user's own, the tenant's, the platform's; no round trip.

        `by_itself`: it is mail of others that is sent on, which no server gets that the user chose without an admin.
        """
        if home.settings.mta_relay and not (by_itself and home.settings.relay_is_own):
            return parse_smarthost(home.settings.mta_relay)
        stored = home.smarthost
        if stored is None:
            return self._of_platform
        password = None
        if stored.sealed_password is not None:
            tenant = self._placement.tenant(home.tenant_id)
            owner = home.tenant_id if tenant.smarthost == stored else home.user_id
            password = Secret(self._sealing.open(f"smarthost:{owner}", stored.sealed_password))
        return Smarthost(stored.host, stored.port, stored.is_tls, stored.username, password)

    def set_for_tenant(self, actor: Actor, tenant_id: TenantId, url: Secret | None) -> None:
        """Let a tenant's mail leave through `smtp[s]://[user:password@]host[:port]`; None: as the platform's.

        Raises:
            ValueInvalid: not such a URL.
            TenantNotFound: there is no such tenant.
        """
        stored = self._stored(f"smarthost:{tenant_id}", url)
        with self._audit.of_tenant(actor, "tenant.smarthost", tenant_id, _told(stored)):
            if not self._directory.tenants.set_smarthost(tenant_id, stored):
                raise TenantNotFound(tenant_id)
        self._placement.forget_tenant(tenant_id)

    def set_for_user(self, actor: Actor, user_id: UserId, url: Secret | None) -> None:
        """Let a user's mail leave through a server of its own; None: as the tenant's.

        Raises:
            ValueInvalid: not such a URL.
            UserNotFound: there is no such user.
        """
        stored = self._stored(f"smarthost:{user_id}", url)
        with self._audit.of_user(actor, "user.smarthost", user_id, _told(stored)):
            if not self._directory.user_changes.set_smarthost(user_id, stored):
                raise UserNotFound(user_id)
        self._placement.forget(user_id)

    def _stored(self, purpose: str, url: Secret | None) -> StoredSmarthost | None:
        if url is None:
            return None
        try:
            parsed = parse_smarthost(url.reveal_text())
        except ValueError as error:
            raise ValueInvalid(f"smarthost: {error}") from None
        sealed = None if parsed.password is None else self._sealing.seal(purpose, parsed.password.reveal())
        return StoredSmarthost(parsed.host, parsed.port, parsed.is_tls, parsed.username, sealed)


def _told(stored: StoredSmarthost | None) -> dict[str, str]:
    return {"smarthost": "" if stored is None else f"{stored.host}:{stored.port}"}
