"""Second factors: codes of an app, and those that others check. A user's own token proves the password once more."""

from __future__ import annotations

import base64
import io
from typing import Annotated, Any, Final

from pydantic import StringConstraints

from mailcore.api.authentication import mint
from mailcore.api.call import Call
from mailcore.api.fields import Input, Output, PresentPassword
from mailcore.api.operation import Operation, Permission
from mailcore.model.factors import Factor
from mailcore.model.roles import Action, Resource, may
from mailcore.model.secret import Secret

Code = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]
Nonce = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
MasterPassword = Annotated[PresentPassword, StringConstraints(min_length=1)]


class Confirmed(Input):
    """`password` is the master one, needed with a user's own token."""

    password: MasterPassword | None = None


class SetUpTotp(Confirmed):
    """What the app shows."""

    label: Annotated[str, StringConstraints(max_length=255)] | None = None
    issuer: Annotated[str, StringConstraints(min_length=1, max_length=255)]


class TotpSeed(Output):
    """The seed, and a picture of it as a data URL; neither is shown again."""

    seed: str
    qrcode: str


class EnableTotp(Input):
    """The first code."""

    token: Code


class CheckTotp(Input):
    """A code, and the nonce that the right password gave."""

    token: Code
    totp_nonce: Nonce


class Checked(Output):
    """The factor is right; a token for whoever may have one."""

    token: str | None = None


def set_up_totp(call: Call, given: SetUpTotp) -> dict[str, Any]:
    """Make a seed that waits for its first code."""
    import segno  # for a picture that few processes ever draw

    user = call.services.users.get(call.owner)
    made = call.services.totp.begin(
        call.actor, call.owner, given.issuer, given.label or user.address, secret_of(given.password)
    )
    picture = io.BytesIO()
    segno.make(made.uri.reveal_text(), error="m").save(picture, kind="svg", scale=4, border=4)
    encoded = base64.b64encode(picture.getvalue()).decode()
    return {"seed": made.seed.reveal_text(), "qrcode": f"data:image/svg+xml;base64,{encoded}"}


def enable_totp(call: Call, given: EnableTotp) -> dict[str, Any]:
    """Turn it on: the code proves that the app has the seed."""
    call.services.totp.enable(call.actor, call.owner, given.token)
    return {}


def check_totp(call: Call, given: CheckTotp) -> dict[str, Any]:
    """Check a code as the second step of a sign-in."""

    def check() -> None:
        call.services.totp.check(call.owner, given.token)

    user = call.services.second_factors.finish_step(call.owner, Secret(given.totp_nonce.encode()), check)
    return {"token": mint(call, user)} if may_mint(call) else {}


def disable_totp(call: Call, given: Confirmed) -> dict[str, Any]:
    """Turn it off and forget the seed."""
    call.services.second_factors.disable(call.actor, call.owner, Factor.TOTP, secret_of(given.password))
    return {}


def enable_custom(call: Call, given: Confirmed) -> dict[str, Any]:
    """Note that somebody else checks a second factor."""
    call.services.second_factors.enable_custom(call.actor, call.owner, secret_of(given.password))
    return {}


def disable_custom(call: Call, given: Confirmed) -> dict[str, Any]:
    """Note that nobody does any more."""
    call.services.second_factors.disable(call.actor, call.owner, Factor.CUSTOM, secret_of(given.password))
    return {}


def disable_all(call: Call, given: Confirmed) -> dict[str, Any]:
    """Forget every second factor and every recovery code."""
    call.services.second_factors.disable_all(call.actor, call.owner, secret_of(given.password))
    return {}


def may_mint(call: Call) -> bool:
    """Whether the caller's token may make tokens of users."""
    return may(call.role, Action.CREATE, Resource.AUTHENTICATION, own=False)


def secret_of(password: str | None) -> Secret | None:
    """Return a password that may have been given as a secret."""
    return Secret(password.encode()) if password is not None else None


_UPDATE: Final = Permission(Resource.USERS, Action.UPDATE)
_PATH: Final = "/users/{user}/2fa"
OPERATIONS: Final = (
    Operation("POST", f"{_PATH}/totp/setup", "setUpTotp", "Begin with TOTP", _UPDATE, SetUpTotp, TotpSeed, set_up_totp),
    Operation("POST", f"{_PATH}/totp/enable", "enableTotp", "Turn TOTP on", _UPDATE, EnableTotp, Output, enable_totp),
    Operation(
        "POST", f"{_PATH}/totp/check", "checkTotp", "Check a code",
        Permission(Resource.AUTHENTICATION, Action.READ), CheckTotp, Checked, check_totp,
    ),
    Operation("DELETE", f"{_PATH}/totp", "disableTotp", "Turn TOTP off", _UPDATE, Confirmed, Output, disable_totp),
    Operation("DELETE", _PATH, "disableAll2fa", "Turn every factor off", _UPDATE, Confirmed, Output, disable_all),
    Operation(
        "PUT", f"{_PATH}/custom", "enableCustom2fa", "Note a factor of your own", _UPDATE,
        Confirmed, Output, enable_custom,
    ),
    Operation(
        "DELETE", f"{_PATH}/custom", "disableCustom2fa", "Forget a factor of your own", _UPDATE,
        Confirmed, Output, disable_custom,
    ),
)  # fmt: skip
