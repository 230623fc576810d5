"""Billing: changes name the plans from which and to which, and what is sent for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UNMADE = """
UPDATE billing_changes AS change SET
  from_price = kept.price_key,
  to_price = kept.price_key,
  wanted = jsonb_build_object(
    'items', jsonb_build_array(jsonb_build_object('id', kept.item, 'quantity', change.to_quantity)),
    'proration_behavior', 'create_prorations'
  ) || CASE WHEN kept.status = 'trialing' THEN '{}'::jsonb
    ELSE jsonb_build_object('proration_date', extract(epoch FROM change.prorated_at)::bigint) END
FROM billing_subscriptions AS kept WHERE kept.id = change.subscription
"""
"""Those that are there change quantities alone."""


def upgrade() -> None:
    """Make the change."""
    for name in ("from_price", "to_price"):
        op.add_column("billing_changes", sa.Column(name, sa.String(120), nullable=False, server_default=""))
        op.alter_column("billing_changes", name, server_default=None)
    op.add_column(
        "billing_changes", sa.Column("wanted", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'"))
    )
    op.alter_column("billing_changes", "wanted", server_default=None)
    op.execute(UNMADE)
