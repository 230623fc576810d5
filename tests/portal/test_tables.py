"""The tables are what the models say, and the audit log is only added to."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from portal.database import session
from portal.mail_plane import EXTENSION
from portal.migrations import migrate
from portal.models import METADATA
from tests.portal.conftest import MadeOrganisation


def test_migrations_make_the_tables_that_the_models_describe(portal_app: Flask) -> None:
    with portal_app.extensions[EXTENSION].database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_migrating_twice_changes_nothing(portal_app: Flask) -> None:
    migrate(portal_app.extensions[EXTENSION].database.engine)


@pytest.mark.parametrize(
    "change", ["UPDATE audit_events SET actor = 'x'", "DELETE FROM audit_events", "TRUNCATE audit_events"]
)
def test_the_database_refuses_changes_of_the_audit_log(organisation: MadeOrganisation, change: str) -> None:
    with pytest.raises(DBAPIError, match="only added to"):
        session().execute(text(change))
    session().rollback()
