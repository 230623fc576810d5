"""What Alembic runs: migrations on the connection that it is given."""

from __future__ import annotations

from alembic import context

from portal.models import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    compare_type=True,
    compare_server_default=False,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
