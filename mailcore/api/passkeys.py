"""Passkeys and security keys; binary values are hexadecimal here and base64url in the standard."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from mailcore.api.authentication import mint
from mailcore.api.call import Call
from mailcore.api.fields import Fields, Flag, Input, Nothing, Output
from mailcore.api.operation import Operation, Permission
from mailcore.api.second_factors import Confirmed, MasterPassword, Nonce, may_mint, secret_of
from mailcore.errors import ValueInvalid
from mailcore.model.factors import Passkey
from mailcore.model.roles import Action, Resource
from mailcore.model.secret import Secret

RP_NAME: Final = "Eider"
Hex = Annotated[str, StringConstraints(pattern=r"^(?:[0-9a-fA-F]{2})+$", max_length=200_000)]
Attachment = Literal["platform", "cross-platform"]
Origin = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class BeginRegistration(Input):
    """A name for the key, and the page that asks."""

    description: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    origin: Origin
    authenticator_attachment: Attachment = "cross-platform"
    rp_id: Annotated[str, StringConstraints(max_length=253)] | None = None
    password: MasterPassword | None = None


class FinishRegistration(Input):
    """What the device made."""

    challenge: Hex
    raw_id: Hex
    client_data_json: Hex = Field(alias="clientDataJSON")
    attestation_object: Hex
    rp_id: Annotated[str, StringConstraints(max_length=253)] | None = None


class BeginAuthentication(Input):
    """The page that asks; `twoFactorNonce` binds the challenge to a sign-in under way."""

    origin: Origin
    authenticator_attachment: Attachment = "cross-platform"
    rp_id: Annotated[str, StringConstraints(max_length=253)] | None = None
    two_factor_nonce: Nonce | None = None


class FinishAuthentication(Input):
    """What the device signed."""

    challenge: Hex
    raw_id: Hex
    client_data_json: Hex = Field(alias="clientDataJSON")
    authenticator_data: Hex
    signature: Hex
    rp_id: Annotated[str, StringConstraints(max_length=253)] | None = None
    two_factor_nonce: Nonce | None = None
    token: Flag = False


class CredentialItem(Fields):
    """A registered key."""

    id: str
    raw_id: str
    description: str
    authenticator_attachment: str


class CredentialList(Output):
    """All of a user's."""

    credentials: list[CredentialItem]


class CredentialAnswer(Output):
    """The key that was registered."""

    id: str
    raw_id: str
    description: str
    authenticator_attachment: str


class Deleted(Output):
    """It is gone."""

    deleted: bool


class RpUser(Fields):
    """Whom the key is for."""

    id: str
    name: str
    display_name: str


class Rp(Fields):
    """Who asks."""

    name: str
    id: str


class Selection(Fields):
    """What kind of key is wanted."""

    authenticator_attachment: str


class Descriptor(Fields):
    """A key that is known."""

    raw_id: str
    type: str
    transports: list[str]


class RegistrationOptions(Fields):
    """What the browser is given."""

    challenge: str
    user: RpUser
    authenticator_selection: Selection
    rp: Rp
    exclude_credentials: list[Descriptor]


class RegistrationBegun(Output):
    """The challenge is good for five minutes."""

    registration_options: RegistrationOptions


class AuthenticationOptions(Fields):
    """What the browser is given."""

    challenge: str
    allow_credentials: list[Descriptor]
    rp_id: str
    raw_challenge: str
    attestation: str
    extensions: dict[str, Any]
    user_verification: str
    timeout: int


class AuthenticationBegun(Output):
    """The challenge is good for five minutes."""

    authentication_options: AuthenticationOptions


class Authenticated(Fields):
    """Which key it was."""

    authenticated: bool
    credential: str


class AuthenticationDone(Output):
    """The key is right; a token for whoever may have one and asked."""

    response: Authenticated
    token: str | None = None


def list_credentials(call: Call, _: Nothing) -> dict[str, Any]:
    """Return the user's keys; one round trip."""
    return {"credentials": [_item(one) for one in call.services.second_factors.status(call.owner).passkeys]}


def delete_credential(call: Call, given: Confirmed) -> dict[str, Any]:
    """Forget a key; with the last one the factor is off."""
    text = call.path["credential"]
    try:
        key = bytes.fromhex(text)
    except ValueError:
        raise ValueInvalid("a credential's id is hexadecimal") from None
    call.services.passkeys.remove(call.actor, call.owner, key, secret_of(given.password))
    return {"deleted": True}


def begin_registration(call: Call, given: BeginRegistration) -> dict[str, Any]:
    """Return what `navigator.credentials.create()` is given."""
    options = call.services.passkeys.begin_registration(
        call.actor,
        call.owner,
        name=given.description,
        origin=given.origin,
        rp_id=_rp_id(given.rp_id, given.origin),
        rp_name=RP_NAME,
        session=_session(call),
        attachment=given.authenticator_attachment,
        password=secret_of(given.password),
    )
    return {
        "registrationOptions": {
            "challenge": options.challenge.hex(),
            "user": {"id": options.user.id.hex(), "name": options.user.name, "displayName": options.user.display_name},
            "authenticatorSelection": {"authenticatorAttachment": given.authenticator_attachment},
            "rp": {"name": options.rp.name, "id": options.rp.id or ""},
            "excludeCredentials": _descriptors(options.exclude_credentials),
        }
    }


def finish_registration(call: Call, given: FinishRegistration) -> dict[str, Any]:
    """Keep what the device made."""
    raw_id = _base64url(given.raw_id)
    passkey = call.services.passkeys.finish_registration(
        call.actor,
        call.owner,
        challenge=bytes.fromhex(given.challenge),
        credential={
            "id": raw_id,
            "rawId": raw_id,
            "type": "public-key",
            "response": {
                "clientDataJSON": _base64url(given.client_data_json),
                "attestationObject": _base64url(given.attestation_object),
            },
        },
        session=_session(call),
    )
    return _item(passkey)


def begin_authentication(call: Call, given: BeginAuthentication) -> dict[str, Any]:
    """Return what `navigator.credentials.get()` is given."""
    rp_id = _rp_id(given.rp_id, given.origin)
    options = call.services.passkeys.begin_authentication(
        call.owner, origin=given.origin, rp_id=rp_id, session=_step(call, given.two_factor_nonce)
    )
    return {
        "authenticationOptions": {
            "challenge": options.challenge.hex(),
            "rawChallenge": _base64url(options.challenge.hex()),
            "allowCredentials": _descriptors(options.allow_credentials),
            "rpId": rp_id,
            "attestation": "none",
            "extensions": {},
            "userVerification": str(options.user_verification.value if options.user_verification else "preferred"),
            "timeout": options.timeout or 0,
        }
    }


def finish_authentication(call: Call, given: FinishAuthentication) -> dict[str, Any]:
    """Check what the device signed; with a nonce it is the second step of a sign-in."""
    raw_id = _base64url(given.raw_id)
    session = _step(call, given.two_factor_nonce)
    credential = {
        "id": raw_id,
        "rawId": raw_id,
        "type": "public-key",
        "response": {
            "clientDataJSON": _base64url(given.client_data_json),
            "authenticatorData": _base64url(given.authenticator_data),
            "signature": _base64url(given.signature),
        },
    }
    used: list[Passkey] = []

    def check() -> None:
        challenge = bytes.fromhex(given.challenge)
        used.append(
            call.services.passkeys.check(call.owner, challenge=challenge, credential=credential, session=session)
        )

    if given.two_factor_nonce is None:
        check()
        return {"response": {"authenticated": True, "credential": used[0].id.hex()}}
    user = call.services.second_factors.finish_step(call.owner, Secret(given.two_factor_nonce.encode()), check)
    found: dict[str, Any] = {"response": {"authenticated": True, "credential": used[0].id.hex()}}
    if given.token and may_mint(call):
        found["token"] = mint(call, user)
    return found


def _item(passkey: Passkey) -> dict[str, Any]:
    return {
        "id": passkey.id.hex(),
        "rawId": passkey.id.hex(),
        "description": passkey.name,
        "authenticatorAttachment": passkey.attachment,
    }


def _descriptors(found: Any) -> list[dict[str, Any]]:
    return [{"rawId": one.id.hex(), "type": "public-key", "transports": []} for one in found or ()]


def _rp_id(given: str | None, origin: str) -> str:
    if given:
        return given
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def _session(call: Call) -> str:
    """Return what a registration is bound to: the token that asks."""
    assert call.token is not None
    return f"token:{call.token.id}"


def _step(call: Call, nonce: str | None) -> str:
    if nonce is None:
        return _session(call)
    return call.services.second_factors.step_of(call.owner, Secret(nonce.encode()))


def _base64url(text: str) -> str:
    return base64.urlsafe_b64encode(bytes.fromhex(text)).rstrip(b"=").decode()


_UPDATE: Final = Permission(Resource.USERS, Action.UPDATE)
_READ: Final = Permission(Resource.AUTHENTICATION, Action.READ)
_PATH: Final = "/users/{user}/2fa/webauthn"
OPERATIONS: Final = (
    Operation(
        "GET", f"{_PATH}/credentials", "listCredentials", "List passkeys", Permission(Resource.USERS, Action.READ),
        Nothing, CredentialList, list_credentials, is_list=True,
    ),
    Operation(
        "DELETE", f"{_PATH}/credentials/{{credential}}", "deleteCredential", "Forget a passkey", _UPDATE,
        Confirmed, Deleted, delete_credential,
    ),
    Operation(
        "POST", f"{_PATH}/registration-challenge", "beginRegistration", "Begin to register a passkey", _UPDATE,
        BeginRegistration, RegistrationBegun, begin_registration,
    ),
    Operation(
        "POST", f"{_PATH}/registration-attestation", "finishRegistration", "Register a passkey", _UPDATE,
        FinishRegistration, CredentialAnswer, finish_registration,
    ),
    Operation(
        "POST", f"{_PATH}/authentication-challenge", "beginAuthentication", "Ask for a passkey", _READ,
        BeginAuthentication, AuthenticationBegun, begin_authentication,
    ),
    Operation(
        "POST", f"{_PATH}/authentication-assertion", "finishAuthentication", "Check a passkey", _READ,
        FinishAuthentication, AuthenticationDone, finish_authentication,
    ),
)  # fmt: skip
