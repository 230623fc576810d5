"""Members' second factors beside passkeys: TOTP (RFC 6238) and recovery codes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import Final
from uuid import UUID

import pyotp
from sqlalchemy import delete, func, select, update

from mailcore.errors import SecondFactorWrong
from mailcore.services import MailServices
from portal.accounts.models import Member, RecoveryCode
from portal.database import session, unit_of_work, utc_now

STEP_S: Final = 30
DIGITS: Final = 6
WINDOW: Final = (-1, 0, 1)
CODES: Final = 10
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"


def new_seed() -> str:
    """Return a seed of 160 bits, base32."""
    return pyotp.random_base32()


def provisioning_uri(seed: str, email: str) -> str:
    """Return what an authenticator app reads from a QR code."""
    return pyotp.TOTP(seed, digits=DIGITS, interval=STEP_S).provisioning_uri(name=email, issuer_name="Eider")


def seal_seed(mail: MailServices, owner: UUID, seed: str) -> bytes:
    """Return a seed as it is stored, bound to whose it is."""
    return mail.sealing.seal(_purpose(owner), seed.encode())


def open_seed(mail: MailServices, owner: UUID, sealed: bytes) -> str:
    """Return a stored seed."""
    return mail.sealing.open(_purpose(owner), sealed).decode()


def step_of(seed: str, code: str) -> int:
    """Return the time-step that a code belongs to, 0 for none in the window; the same work for each code."""
    totp = pyotp.TOTP(seed, digits=DIGITS, interval=STEP_S)
    now = int(time.time()) // STEP_S
    given = code.replace(" ", "").encode("utf-8", "surrogatepass")
    matching = [
        now + offset for offset in WINDOW if hmac.compare_digest(totp.generate_otp(now + offset).encode(), given)
    ]
    return max(matching, default=0)


def use_code(mail: MailServices, member: Member, code: str) -> None:
    """Use a TOTP code up: it is good once, and none before it is good afterwards, also on two processes at once.

    Raises:
        SecondFactorWrong: not the code of now, one step before or after, or used already.
    """
    if member.sealed_totp_seed is None:
        raise SecondFactorWrong
    step = step_of(open_seed(mail, member.id, member.sealed_totp_seed), code)
    with unit_of_work() as current:
        used = current.execute(
            update(Member).where(Member.id == member.id, Member.totp_step < step).values(totp_step=step)
        )
        if not step or not used.rowcount:  # type: ignore[attr-defined]
            raise SecondFactorWrong


def use_recovery_code(member: Member, code: str) -> None:
    """Use a recovery code up.

    Raises:
        SecondFactorWrong: none of this member's, or used already.
    """
    with unit_of_work() as current:
        used = current.execute(
            update(RecoveryCode)
            .where(
                RecoveryCode.member_id == member.id,
                RecoveryCode.digest == _digest(member.id, code),
                RecoveryCode.used_at.is_(None),
            )
            .values(used_at=utc_now())
        )
        if not used.rowcount:  # type: ignore[attr-defined]
            raise SecondFactorWrong


def new_recovery_codes(member: Member) -> list[str]:
    """Replace a member's recovery codes and return the new ones, which nobody can read again."""
    codes = [_code() for _ in range(CODES)]
    with unit_of_work() as current:
        current.execute(delete(RecoveryCode).where(RecoveryCode.member_id == member.id))
        current.add_all(RecoveryCode(member_id=member.id, digest=_digest(member.id, code)) for code in codes)
    return codes


def recovery_codes_left(member: Member) -> int:
    """Return how many codes are not used yet."""
    wanted = select(func.count()).select_from(RecoveryCode)
    return session().scalar(wanted.where(RecoveryCode.member_id == member.id, RecoveryCode.used_at.is_(None))) or 0


def _code() -> str:
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    return "-".join(letters[at : at + 4] for at in (0, 4, 8))


def _digest(member_id: UUID, code: str) -> bytes:
    plain = "".join(character for character in code.lower() if character in _ALPHABET)
    return hashlib.sha256(b"eider recovery code" + member_id.bytes + plain.encode()).digest()


def _purpose(owner: UUID) -> str:
    return f"member_totp:{owner}"
