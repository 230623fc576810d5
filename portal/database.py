"""The portal's connections to Postgres."""

from __future__ import annotations

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_MS = 10_000


def open_engine(database_url: str) -> Engine:
    """Return the pool of one process; connects at first use."""
    return create_engine(
        make_url(database_url).set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}"},
    )


def answers(engine: Engine) -> bool:
    """Tell whether Postgres answers a query now."""
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True
