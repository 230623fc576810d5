"""Mailed links."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "mailed_links",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_token", sa.LargeBinary(), nullable=True),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("canonical_email", sa.String(length=254), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("content", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailed_links")),
        sa.UniqueConstraint("digest", name=op.f("uq_mailed_links_digest")),
    )
    op.create_index(op.f("ix_mailed_links_canonical_email"), "mailed_links", ["canonical_email"], unique=False)
    op.create_index(op.f("ix_mailed_links_expires_at"), "mailed_links", ["expires_at"], unique=False)
    op.create_table(
        "passkey_challenges",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("bound_to", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_passkey_challenges")),
    )
    op.create_index(op.f("ix_passkey_challenges_expires_at"), "passkey_challenges", ["expires_at"], unique=False)
    op.drop_index(op.f("ix_mailed_tokens_canonical_email"), table_name="mailed_tokens")
    op.drop_index(op.f("ix_mailed_tokens_expires_at"), table_name="mailed_tokens")
    op.drop_table("mailed_tokens")
    op.drop_constraint(op.f("uq_invitations_token_digest"), "invitations", type_="unique")
    op.drop_column("invitations", "token_digest")
    op.add_column("portal_sessions", sa.Column("sealed_new_totp_seed", sa.LargeBinary(), nullable=True))
    op.add_column("members", sa.Column("lookalike_email", sa.String(length=254), nullable=True))
    op.execute("UPDATE members SET lookalike_email = canonical_email")
    op.alter_column("members", "lookalike_email", nullable=False)
    op.create_unique_constraint("uq_members_lookalike_email", "members", ["lookalike_email"])
