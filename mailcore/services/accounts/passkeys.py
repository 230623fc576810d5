"""Passkeys and security keys (W3C Web Authentication Level 3): registered and asked by challenges good once.

The library takes five megabytes; a process imports it when somebody uses a passkey.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mailcore.errors import (
    FactorIsOff,
    NonceInvalid,
    PasskeyNotFound,
    PasskeyTaken,
    TooManyPasskeys,
    ValueInvalid,
)
from mailcore.model.actor import Actor
from mailcore.model.factors import Factor, Passkey
from mailcore.model.ids import UserId
from mailcore.model.limits import SecondFactorLimits
from mailcore.model.secret import Secret
from mailcore.model.tenant import User
from mailcore.services.accounts.reauthentication import Reauthentication
from mailcore.services.accounts.second_factors import SecondFactors
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory

if TYPE_CHECKING:
    from webauthn.helpers.structs import (
        PublicKeyCredentialCreationOptions,
        PublicKeyCredentialDescriptor,
        PublicKeyCredentialRequestOptions,
        UserVerificationRequirement,
    )

CHALLENGE_BYTES: Final = 32
NAME_CHARACTERS: Final = 1024
_REGISTRATION: Final = "passkey registration"
_AUTHENTICATION: Final = "passkey authentication"

Credential = Mapping[str, Any]
"""What `PublicKeyCredential.toJSON()` gives in the browser."""


class _Refused(Exception):
    """What the library does not look at."""


class Passkeys:
    """Credentials of a user's devices and security keys.

    A challenge is bound to the user, to `session` (whatever names the browser's session, or
    `SecondFactors.step_of` a nonce), to the origin and to the relying party for which it was made.
    """

    def __init__(
        self,
        directory: Directory,
        factors: SecondFactors,
        reauthentication: Reauthentication,
        audit: Audit,
        limits: SecondFactorLimits,
    ) -> None:
        self._directory = directory
        self._factors = factors
        self._reauthentication = reauthentication
        self._audit = audit
        self._limits = limits

    # -- registration (§7.1) --------------------------------------------------------------------

    def begin_registration(
        self,
        actor: Actor,
        user_id: UserId,
        *,
        name: str,
        origin: str,
        rp_id: str,
        rp_name: str,
        session: str,
        attachment: str | None = None,
        verifies_user: bool = False,
        password: Secret | None = None,
    ) -> PublicKeyCredentialCreationOptions:
        """Return the options for `navigator.credentials.create()`; the challenge is good for five minutes.

        `verifies_user`: the device must have asked for PIN or finger. `attachment`: "platform" or "cross-platform".

        Raises:
            ValueInvalid: the origin is not one of the relying party, or a value is malformed.
            TooManyPasskeys: the user has as many as may be. Also as `Reauthentication.confirm`.
        """
        import webauthn
        from webauthn.helpers.structs import (
            AuthenticatorAttachment,
            AuthenticatorSelectionCriteria,
            ResidentKeyRequirement,
        )

        _check_origin(origin, rp_id)
        if not 0 < len(name) <= NAME_CHARACTERS or attachment not in {None, "platform", "cross-platform"}:
            raise ValueInvalid("a passkey has a name and is platform or cross-platform")
        self._reauthentication.confirm(actor, user_id, password)
        passkeys = self._factors.stored(user_id).passkeys
        if len(passkeys) >= self._limits.passkeys:
            raise TooManyPasskeys(user_id)
        user = self._directory.users.find(user_id)
        address = user.address if user is not None else ""
        content = {"name": name, "attachment": attachment or "cross-platform"}
        with self._audit.of_user(actor, "mfa.webauthn.begun", user_id, {"name": name, "rp_id": rp_id}):
            challenge = self._new_challenge(user_id, _REGISTRATION, origin, rp_id, session, verifies_user, content)
        return webauthn.generate_registration_options(
            rp_id=rp_id,
            rp_name=rp_name,
            user_id=user_id.binary,
            user_name=address,
            user_display_name=(user.name if user is not None else "") or address,
            challenge=challenge,
            timeout=self._limits.challenge_s * 1000,
            authenticator_selection=AuthenticatorSelectionCriteria(
                authenticator_attachment=AuthenticatorAttachment(attachment) if attachment else None,
                resident_key=ResidentKeyRequirement.PREFERRED,
                user_verification=_verification(verifies_user),
            ),
            exclude_credentials=_descriptors(passkeys, rp_id),
        )

    def finish_registration(
        self, actor: Actor, user_id: UserId, *, challenge: bytes, credential: Credential, session: str
    ) -> Passkey:
        """Store what the device made; the first passkey turns the factor on.

        Raises:
            NonceInvalid: the challenge is unknown, used, too old, or of another user or session.
            SecondFactorWrong: it does not answer the challenge, or is of another origin or relying party.
            PasskeyTaken: it is registered already, by whomever.
        """
        import webauthn
        from webauthn.helpers import parse_registration_credential_json

        asked = self._use_challenge(user_id, _REGISTRATION, challenge, session)
        try:
            parsed = parse_registration_credential_json(dict(credential))
            verified = webauthn.verify_registration_response(
                credential=parsed,
                expected_challenge=challenge,
                expected_rp_id=asked["rp_id"],
                expected_origin=asked["origin"],
                require_user_verification=asked["verifies_user"],
            )
            _refuse_frames(parsed.response.client_data_json)
        except _refusals() as error:
            raise self._factors.wrong(user_id, Factor.WEBAUTHN.value, str(error)) from error
        if verified.credential_id != parsed.raw_id:
            raise self._factors.wrong(user_id, Factor.WEBAUTHN.value, "another credential's id")
        passkey = Passkey(
            id=verified.credential_id,
            public_key=verified.credential_public_key,
            sign_count=verified.sign_count,
            name=asked["name"],
            rp_id=asked["rp_id"],
            attachment=asked["attachment"],
            is_backed_up=verified.credential_backed_up,
            created_at=now(),
        )
        with self._audit.of_user(actor, "mfa.webauthn.registered", user_id, _told(passkey)):
            if self._directory.second_factors.add_passkey(user_id, passkey, self._limits.passkeys) is None:
                if len(self._factors.stored(user_id).passkeys) >= self._limits.passkeys:
                    raise TooManyPasskeys(user_id)
                raise PasskeyTaken
        self._factors.turned_on(user_id)
        return passkey

    # -- authentication (§7.2) ------------------------------------------------------------------

    def begin_authentication(
        self, user_id: UserId, *, origin: str, rp_id: str, session: str, verifies_user: bool = False
    ) -> PublicKeyCredentialRequestOptions:
        """Return the options for `navigator.credentials.get()`; two round trips.

        Raises:
            ValueInvalid: the origin is not one of the relying party.
            FactorIsOff: the user has no passkey for it.
        """
        import webauthn

        _check_origin(origin, rp_id)
        allowed = _descriptors(self._factors.stored(user_id).passkeys, rp_id)
        if not allowed:
            raise FactorIsOff(Factor.WEBAUTHN.value)
        return webauthn.generate_authentication_options(
            rp_id=rp_id,
            challenge=self._new_challenge(user_id, _AUTHENTICATION, origin, rp_id, session, verifies_user, {}),
            timeout=self._limits.challenge_s * 1000,
            allow_credentials=allowed,
            user_verification=_verification(verifies_user),
        )

    def check(self, user_id: UserId, *, challenge: bytes, credential: Credential, session: str) -> Passkey:
        """Use the challenge up and see that one of the user's passkeys signed it; three round trips.

        Raises:
            NonceInvalid: the challenge is unknown, used, too old, or of another user or session.
            SecondFactorWrong: no passkey of the user signed this challenge for this origin and relying party, or
                its counter went back, as that of a copied key would.
        """
        import webauthn
        from webauthn.helpers import parse_authentication_credential_json

        asked = self._use_challenge(user_id, _AUTHENTICATION, challenge, session)
        try:
            parsed = parse_authentication_credential_json(dict(credential))
            passkey = self._find(user_id, parsed.raw_id, asked["rp_id"], parsed.response.user_handle)
            verified = webauthn.verify_authentication_response(
                credential=parsed,
                expected_challenge=challenge,
                expected_rp_id=asked["rp_id"],
                expected_origin=asked["origin"],
                credential_public_key=passkey.public_key,
                credential_current_sign_count=passkey.sign_count,
                require_user_verification=asked["verifies_user"],
            )
            _refuse_frames(parsed.response.client_data_json)
        except _refusals() as error:
            raise self._factors.wrong(user_id, Factor.WEBAUTHN.value, str(error)) from error
        if not self._directory.second_factors.use_passkey(user_id, passkey, verified.new_sign_count, now()):
            raise self._factors.wrong(user_id, Factor.WEBAUTHN.value, "used or removed meanwhile")
        return passkey

    def remove(self, actor: Actor, user_id: UserId, passkey_id: bytes, password: Secret | None = None) -> User:
        """Forget a passkey; with the last one the factor is off.

        Raises:
            PasskeyNotFound: the user has no such passkey. Also as `Reauthentication.confirm`.
        """
        self._reauthentication.confirm(actor, user_id, password)
        with self._audit.of_user(actor, "mfa.webauthn.removed", user_id, {"passkey": passkey_id.hex()}):
            user = self._directory.second_factors.remove_passkey(user_id, passkey_id)
            if user is None:
                raise PasskeyNotFound
        return user

    # -- challenges -----------------------------------------------------------------------------

    def _new_challenge(
        self,
        user_id: UserId,
        purpose: str,
        origin: str,
        rp_id: str,
        session: str,
        verifies_user: bool,
        content: dict[str, Any],
    ) -> bytes:
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        bound = {"origin": origin, "rp_id": rp_id, "session": _hashed(session), "verifies_user": verifies_user}
        self._directory.nonces.insert(user_id, purpose, Secret(challenge), self._limits.challenge_s, content | bound)
        return challenge

    def _use_challenge(self, user_id: UserId, purpose: str, challenge: bytes, session: str) -> dict[str, Any]:
        asked = self._directory.nonces.consume(user_id, purpose, Secret(challenge))
        if asked is None or not secrets.compare_digest(asked["session"], _hashed(session)):
            raise NonceInvalid
        return asked

    def _find(self, user_id: UserId, passkey_id: bytes, rp_id: str, user_handle: bytes | None) -> Passkey:
        if user_handle and user_handle != user_id.binary:
            raise _Refused("another user's handle")
        for passkey in self._factors.stored(user_id).passkeys:
            if passkey.id == passkey_id and passkey.rp_id == rp_id:
                return passkey
        raise _Refused("no passkey of this user")


def _refusals() -> tuple[type[Exception], ...]:
    """Return what the library raises; the last three it lets through of JSON and CBOR that is not what it says."""
    from webauthn.helpers.exceptions import WebAuthnException

    return WebAuthnException, _Refused, ValueError, TypeError, LookupError


def _refuse_frames(client_data: bytes) -> None:
    """Refuse what was made inside a page of somebody else (§7.1 step 10, §7.2 step 13)."""
    from webauthn.helpers import parse_client_data_json

    if parse_client_data_json(client_data).cross_origin:
        raise _Refused("in a frame of another origin")


def _check_origin(origin: str, rp_id: str) -> None:
    """See that a page of `origin` may speak for the relying party: its host or one below it, by TLS (§5.1.3)."""
    try:
        parts = urlsplit(origin)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    is_secure = parts.scheme == "https" or (parts.scheme == "http" and host == "localhost")
    is_below = bool(rp_id) and (host == rp_id or host.endswith("." + rp_id))
    if not is_secure or not is_below or origin != f"{parts.scheme}://{parts.netloc}":
        raise ValueInvalid("the origin is https, and its host is the relying party's or below it")


def _told(passkey: Passkey) -> dict[str, str]:
    return {"passkey": passkey.id.hex(), "name": passkey.name, "rp_id": passkey.rp_id}


def _verification(verifies_user: bool) -> UserVerificationRequirement:
    from webauthn.helpers.structs import UserVerificationRequirement

    return UserVerificationRequirement.REQUIRED if verifies_user else UserVerificationRequirement.PREFERRED


def _descriptors(passkeys: tuple[Passkey, ...], rp_id: str) -> list[PublicKeyCredentialDescriptor]:
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

    return [PublicKeyCredentialDescriptor(id=passkey.id) for passkey in passkeys if passkey.rp_id == rp_id]


def _hashed(session: str) -> str:
    return hashlib.sha256(session.encode("utf-8", "surrogatepass")).hexdigest()
