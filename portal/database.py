"""The portal's connections to Postgres: one session a request or job, one commit a unit of work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg.errors import OperationalError
from sqlalchemy import DateTime, Engine, MetaData, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

CONNECT_TIMEOUT_S: Final = 3
STATEMENT_TIMEOUT_MS: Final = 5_000
DEADLINE_S: Final = 6.0
"""So long an answer is awaited; a server that is there but stands still is given up after it."""
POOL: Final = 10
BEYOND_POOL: Final = 10
POOL_WAIT_S: Final = 5.0

_current: ContextVar[Session] = ContextVar("portal_session")
_AFTER_COMMIT: Final = "after_commit"
ENQUEUE: Final = "enqueue"

Enqueue = Callable[..., object]
"""Takes the name of a job and its arguments by name."""


class Base(DeclarativeBase):
    """Every table; names of constraints follow one rule, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012  as SQLAlchemy wants it


class _Connection(psycopg.Connection[Any]):
    """A connection on which nothing is awaited for ever: a stopped server would hold every greenlet."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Run an operation; after the deadline end the connection, for its state is unknown."""
        begun_at = time.monotonic()
        try:
            return super().wait(gen, interval, DEADLINE_S if timeout is None else timeout)
        except OperationalError:
            if timeout is None and time.monotonic() - begun_at >= DEADLINE_S:
                self.pgconn.finish()
            raise


class Database:
    """The pool of one process."""

    def __init__(self, database_url: str, enqueue: Enqueue | None = None) -> None:
        """Connects at first use; `enqueue` puts jobs on their queue, without it nothing is put there."""
        self._enqueue = enqueue
        self.engine = open_engine(database_url)
        self._make = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def scope(self) -> Iterator[Session]:
        """Open what `session()` returns inside; what is not committed at the end is undone."""
        opened = self._make()
        opened.info[ENQUEUE] = self._enqueue
        token = _current.set(opened)
        try:
            yield opened
        finally:
            _current.reset(token)
            opened.close()


def open_engine(database_url: str) -> Engine:
    """Return the pool of one process; connects at first use."""
    url = make_url(database_url)
    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)

    def connect() -> psycopg.Connection[Any]:
        return _Connection.connect(
            conninfo,
            connect_timeout=CONNECT_TIMEOUT_S,
            options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC",
        )

    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        creator=connect,
        pool_pre_ping=True,
        pool_size=POOL,
        max_overflow=BEYOND_POOL,
        pool_timeout=POOL_WAIT_S,
    )


def session() -> Session:
    """Return the session of the request or job that runs now.

    Raises:
        LookupError: there is none.
    """
    return _current.get()


@contextmanager
def unit_of_work() -> Iterator[Session]:
    """Commit once at the end, or nothing if anything is raised; then do what waits for the commit.

    Only services use it. Inside another one it is a part of that.
    """
    current = session()
    if _AFTER_COMMIT in current.info:
        yield current
        return
    waiting: list[Callable[[], object]] = []
    current.info[_AFTER_COMMIT] = waiting
    try:
        yield current
        current.commit()
    except BaseException:
        current.rollback()
        raise
    finally:
        del current.info[_AFTER_COMMIT]
    for work in waiting:
        work()


def after_commit(work: Callable[[], object]) -> None:
    """Do something once the unit of work is committed, and only then: jobs, mails."""
    session().info[_AFTER_COMMIT].append(work)


def utc_now() -> datetime:
    """Return the time as tables hold it."""
    return datetime.now(UTC)


def answers(engine: Engine) -> bool:
    """Tell whether Postgres answers a query now."""
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True
