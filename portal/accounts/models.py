"""Tables of organisations, members and their sessions."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from bson import ObjectId
from sqlalchemy import ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailcore.model.ids import TenantId
from portal.database import Base, utc_now
from portal.permissions import Role


class OrganisationState(StrEnum):
    """Whether an organisation's people may work; the mail plane follows by a job."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class Organisation(Base):
    """A paying organisation: the master of its tenant in the mail plane."""

    __tablename__ = "organisations"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str] = mapped_column(String(200))
    slug: Mapped[str] = mapped_column(String(80), unique=True)
    tenant: Mapped[str] = mapped_column(String(24), unique=True, default=lambda: str(ObjectId()))
    """The id that its tenant has or will have: chosen before the first try to make it."""
    region: Mapped[str] = mapped_column(String(32))
    state: Mapped[OrganisationState] = mapped_column(String(16), default=OrganisationState.ACTIVE)
    plan: Mapped[str] = mapped_column(String(32), default="trial")
    second_factor_roles: Mapped[list[str]] = mapped_column(ARRAY(String(16)), default=list)
    """Roles whose members must have a second factor."""
    provisioned_at: Mapped[datetime | None]
    """When the mail plane was last seen to have its tenant as it stands here."""
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    @property
    def tenant_id(self) -> TenantId:
        """The tenant in the mail plane."""
        return TenantId(ObjectId(self.tenant))


class Member(Base):
    """A person who signs in to the portal; may belong to several organisations."""

    __tablename__ = "members"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    email: Mapped[str] = mapped_column(String(254))
    """The address as its owner writes it."""
    canonical_email: Mapped[str] = mapped_column(String(254), unique=True)
    lookalike_email: Mapped[str] = mapped_column(String(254), unique=True)
    """What people take the address for (UTS 39); mostly the address itself."""
    name: Mapped[str] = mapped_column(String(200))
    password_hash: Mapped[str | None] = mapped_column(String(512))
    sealed_totp_seed: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_step: Mapped[int] = mapped_column(default=0)
    """The last time-step whose code was used: no code is good twice."""
    language: Mapped[str | None] = mapped_column(String(8))
    is_staff: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    passkeys: Mapped[list[MemberPasskey]] = relationship(back_populates="member", cascade="all, delete-orphan")

    @property
    def has_second_factor(self) -> bool:
        """Whether a password alone does not sign this member in."""
        return self.sealed_totp_seed is not None or bool(self.passkeys)


class Membership(Base):
    """What a member is in an organisation."""

    __tablename__ = "memberships"

    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), primary_key=True)
    member_id: Mapped[UUID] = mapped_column(ForeignKey("members.id", ondelete="CASCADE"), primary_key=True, index=True)
    role: Mapped[Role] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    organisation: Mapped[Organisation] = relationship()
    member: Mapped[Member] = relationship()


class MemberPasskey(Base):
    """A credential of a member's device (W3C Web Authentication §4)."""

    __tablename__ = "member_passkeys"

    id: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    member_id: Mapped[UUID] = mapped_column(ForeignKey("members.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int] = mapped_column(default=0)
    is_backed_up: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    used_at: Mapped[datetime | None]

    member: Mapped[Member] = relationship(back_populates="passkeys")


class RecoveryCode(Base):
    """One of a member's codes for when the second factor is lost; a hash, good once."""

    __tablename__ = "recovery_codes"

    member_id: Mapped[UUID] = mapped_column(ForeignKey("members.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    used_at: Mapped[datetime | None]


class Invitation(Base):
    """Somebody who is asked to become a member, until they answer or the invitation is taken back."""

    __tablename__ = "invitations"
    __table_args__ = (UniqueConstraint("organisation_id", "canonical_email"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), index=True)
    email: Mapped[str] = mapped_column(String(254))
    canonical_email: Mapped[str] = mapped_column(String(254))
    role: Mapped[Role] = mapped_column(String(16))
    invited_by: Mapped[str] = mapped_column(String(254))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime]

    organisation: Mapped[Organisation] = relationship()


class LinkPurpose(StrEnum):
    """What a mailed link is for."""

    SIGN_UP = "sign_up"
    RESET = "reset"
    INVITATION = "invitation"


class MailedLink(Base):
    """A link that is mailed; its token is good once, for an hour at most.

    The token lies here sealed until the mail is queued, so that it is in no job and no log.
    """

    __tablename__ = "mailed_links"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    sealed_token: Mapped[bytes | None] = mapped_column(LargeBinary)
    purpose: Mapped[LinkPurpose] = mapped_column(String(16))
    email: Mapped[str] = mapped_column(String(254))
    canonical_email: Mapped[str] = mapped_column(String(254), index=True)
    language: Mapped[str] = mapped_column(String(8), default="en")
    content: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class PasskeyChallenge(Base):
    """A challenge for a passkey: good once, for five minutes, in the browser that asked for it."""

    __tablename__ = "passkey_challenges"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    bound_to: Mapped[bytes] = mapped_column(LargeBinary)
    purpose: Mapped[str] = mapped_column(String(16))
    expires_at: Mapped[datetime] = mapped_column(index=True)


class PortalSession(Base):
    """Somebody who is signed in on one browser; without its row the browser's cookie opens nothing."""

    __tablename__ = "portal_sessions"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    """Of the token in the cookie."""
    id: Mapped[UUID] = mapped_column(unique=True, default=uuid4)
    """By which pages name it."""
    member_id: Mapped[UUID | None] = mapped_column(ForeignKey("members.id", ondelete="CASCADE"), index=True)
    organisation_id: Mapped[UUID | None] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"))
    """The one a member works on now."""
    mail_user: Mapped[str | None] = mapped_column(String(24), index=True)
    """Id of a mail user, who is no member."""
    mail_tenant: Mapped[str | None] = mapped_column(String(24))
    mail_address: Mapped[str | None] = mapped_column(String(320))
    mail_auth_version: Mapped[int | None]
    """The user's at sign-in: when it has changed, this session is over."""
    is_staff: Mapped[bool] = mapped_column(default=False)
    factor: Mapped[str] = mapped_column(String(16))
    """By what it was opened: password, totp, recovery or passkey."""
    sealed_new_totp_seed: Mapped[bytes | None] = mapped_column(LargeBinary)
    """A seed that is being set up: it counts once its first code was given."""
    remote_address: Mapped[str] = mapped_column(String(64), default="")
    user_agent: Mapped[str] = mapped_column(String(300), default="")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    seen_at: Mapped[datetime] = mapped_column(default=utc_now)
    confirmed_at: Mapped[datetime] = mapped_column(default=utc_now)
    """When its owner last proved who it is."""
    expires_at: Mapped[datetime]

    member: Mapped[Member | None] = relationship()
    organisation: Mapped[Organisation | None] = relationship()
