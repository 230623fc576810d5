"""Members' passkeys (W3C Web Authentication Level 3): registered and asked by challenges good once.

A passkey verifies its user (PIN, finger, face), so it is both factors at once.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, MutableMapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import orjson
import webauthn
from sqlalchemy import delete, select
from sqlalchemy.orm import joinedload
from webauthn.helpers import (
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from mailcore.errors import NonceInvalid, PasskeyTaken, SecondFactorWrong
from portal.accounts.models import MemberPasskey, PasskeyChallenge
from portal.database import session, unit_of_work, utc_now
from portal.settings import PortalSettings

GOOD_FOR: Final = timedelta(minutes=5)
MOST: Final = 20
"""Passkeys of one member."""
REGISTRATION: Final = "registration"
AUTHENTICATION: Final = "authentication"
_REFUSALS: Final = (WebAuthnException, ValueError, TypeError, LookupError)
"""The last three are what the library lets through of JSON and CBOR that is not what it says."""


def begin_registration(
    settings: PortalSettings, member_id: UUID, email: str, name: str, known: Iterable[bytes], bound_to: str
) -> str:
    """Return the options for `navigator.credentials.create()`, JSON."""
    options = webauthn.generate_registration_options(
        rp_id=settings.host,
        rp_name="Eider",
        user_id=member_id.bytes,
        user_name=email,
        user_display_name=name or email,
        challenge=_new_challenge(REGISTRATION, bound_to),
        timeout=int(GOOD_FOR.total_seconds() * 1000),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=one) for one in known],
    )
    return webauthn.options_to_json(options)


def finish_registration(
    settings: PortalSettings, member_id: UUID, credential: str, name: str, bound_to: str
) -> MemberPasskey:
    """Return what the device made, not stored yet.

    Raises:
        NonceInvalid: it answers no challenge of this browser that is still good.
        SecondFactorWrong: another origin, no verified user, or malformed.
        PasskeyTaken: it is registered already, by whomever.
    """
    try:
        parsed = parse_registration_credential_json(credential)
        challenge = _use_challenge(REGISTRATION, parsed.response.client_data_json, bound_to)
        verified = webauthn.verify_registration_response(
            credential=parsed,
            expected_challenge=challenge,
            expected_rp_id=settings.host,
            expected_origin=settings.public_url,
            require_user_verification=True,
        )
        _refuse_frames(parsed.response.client_data_json)
    except _REFUSALS as error:
        raise SecondFactorWrong(str(error)) from error
    if session().get(MemberPasskey, verified.credential_id) is not None:
        raise PasskeyTaken
    return MemberPasskey(
        id=verified.credential_id,
        member_id=member_id,
        name=name.strip()[:100] or "Passkey",
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        is_backed_up=verified.credential_backed_up,
    )


def begin_authentication(settings: PortalSettings, bound_to: str, known: Iterable[bytes] = ()) -> str:
    """Return the options for `navigator.credentials.get()`, JSON; without `known` the device offers what it has."""
    options = webauthn.generate_authentication_options(
        rp_id=settings.host,
        challenge=_new_challenge(AUTHENTICATION, bound_to),
        timeout=int(GOOD_FOR.total_seconds() * 1000),
        allow_credentials=[PublicKeyCredentialDescriptor(id=one) for one in known],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return webauthn.options_to_json(options)


def check(settings: PortalSettings, credential: str, bound_to: str, member_id: UUID | None = None) -> MemberPasskey:
    """Return the passkey that signed a challenge of this browser, with its member; used up and counted.

    Raises:
        NonceInvalid: it answers no challenge of this browser that is still good.
        SecondFactorWrong: no passkey of ours (or of this member) signed it for our origin, or its counter went
            back, as that of a copied key would.
    """
    try:
        parsed = parse_authentication_credential_json(credential)
        challenge = _use_challenge(AUTHENTICATION, parsed.response.client_data_json, bound_to)
        found = _find(parsed.raw_id, parsed.response.user_handle, member_id)
        verified = webauthn.verify_authentication_response(
            credential=parsed,
            expected_challenge=challenge,
            expected_rp_id=settings.host,
            expected_origin=settings.public_url,
            credential_public_key=found.public_key,
            credential_current_sign_count=found.sign_count,
            require_user_verification=True,
        )
        _refuse_frames(parsed.response.client_data_json)
    except _REFUSALS as error:
        raise SecondFactorWrong(str(error)) from error
    with unit_of_work():
        found.sign_count = verified.new_sign_count
        found.used_at = utc_now()
    return found


def browser_binding(cookie: MutableMapping[str, Any]) -> str:
    """Return what binds challenges to this browser, kept in its cookie."""
    return str(cookie.setdefault("browser", secrets.token_urlsafe(16)))


def forget_old() -> None:
    """Remove challenges that nobody answered."""
    with unit_of_work() as current:
        current.execute(delete(PasskeyChallenge).where(PasskeyChallenge.expires_at < utc_now()))


def _find(passkey_id: bytes, user_handle: bytes | None, member_id: UUID | None) -> MemberPasskey:
    found = (
        session()
        .scalars(
            select(MemberPasskey)
            .where(MemberPasskey.id == passkey_id)
            .options(joinedload(MemberPasskey.member))
            .with_for_update(of=MemberPasskey)
        )
        .one_or_none()
    )
    if found is None or (user_handle and user_handle != found.member_id.bytes):
        raise LookupError("no passkey of ours")
    if member_id is not None and found.member_id != member_id:
        raise LookupError("another member's passkey")
    return found


def _refuse_frames(client_data: bytes) -> None:
    """Refuse what was made inside a page of somebody else (§7.1 step 10, §7.2 step 13)."""
    if parse_client_data_json(client_data).cross_origin:
        raise ValueError("in a frame of another origin")


def _new_challenge(purpose: str, bound_to: str) -> bytes:
    challenge = secrets.token_bytes(32)
    with unit_of_work() as current:
        current.add(
            PasskeyChallenge(
                digest=_digest(challenge),
                bound_to=_digest(bound_to.encode()),
                purpose=purpose,
                expires_at=utc_now() + GOOD_FOR,
            )
        )
    return challenge


def _use_challenge(purpose: str, client_data: bytes, bound_to: str) -> bytes:
    """Use up the challenge that is answered; committed at once, whatever else is wrong with the answer."""
    challenge = webauthn.base64url_to_bytes(str(orjson.loads(client_data)["challenge"]))
    with unit_of_work() as current:
        used = current.execute(
            delete(PasskeyChallenge)
            .where(
                PasskeyChallenge.digest == _digest(challenge),
                PasskeyChallenge.bound_to == _digest(bound_to.encode()),
                PasskeyChallenge.purpose == purpose,
                PasskeyChallenge.expires_at > utc_now(),
            )
            .returning(PasskeyChallenge.digest)
        ).one_or_none()
    if used is None:
        raise NonceInvalid
    return challenge


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
