"""Re-authentication: who changes how a user signs in proves the master password once more."""

from __future__ import annotations

from mailcore.errors import AuthenticationFailed, UserNotFound
from mailcore.model.access import CredentialKind, Protocol
from mailcore.model.actor import Actor, ActorKind
from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from mailcore.services.accounts.authentication import Authentication
from mailcore.store.directory import Directory


class Reauthentication:
    """A stolen session or an app password is not enough; administrators act in their own name."""

    def __init__(self, directory: Directory, authentication: Authentication) -> None:
        self._directory = directory
        self._authentication = authentication

    def confirm(self, actor: Actor, user_id: UserId, password: Secret | None) -> None:
        """Make sure that the actor is the user, by the master password, or an administrator.

        Costs what a login at the portal costs, and counts as one where it fails.

        Raises:
            UserNotFound: a user asks for somebody else.
            AuthenticationFailed: the password is missing, wrong, or not the master one.
            TooManyAttempts, UserDisabled, ServerBusy: as a login.
        """
        if actor.kind is not ActorKind.USER:
            return
        user = self._directory.users.find(user_id) if actor.on_behalf_of == user_id else None
        if user is None:
            raise UserNotFound(user_id)
        if password is None:
            raise AuthenticationFailed("the master password is needed once more")
        identity = self._authentication.login(user.address, password, Protocol.PORTAL, actor.remote_address)
        if identity.user_id != user_id or identity.credential.kind is not CredentialKind.MASTER:
            raise AuthenticationFailed("not the master password")
