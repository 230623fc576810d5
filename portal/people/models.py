"""Tables of imports: each a ledger of what was wanted, line by line, and of what became of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from bson import ObjectId
from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from portal.database import Base, utc_now


class ImportState(StrEnum):
    """How far an import is."""

    PREVIEW = "preview"
    """Read and checked; nothing is changed."""
    RUNNING = "running"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"


class RowState(StrEnum):
    """What became of a line."""

    FAULTY = "faulty"
    """Something is wrong with it; it makes nobody."""
    PLANNED = "planned"
    DONE = "done"
    FAILED = "failed"
    """It was right when it was checked, and could not be done."""
    UNDONE = "undone"


class PeopleImport(Base):
    """One list of people that somebody brought."""

    __tablename__ = "people_imports"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), index=True)
    file_name: Mapped[str] = mapped_column(String(200))
    brought_by: Mapped[str] = mapped_column(String(320))
    state: Mapped[ImportState] = mapped_column(String(16), default=ImportState.PREVIEW)
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    """Columns that were used and those that were not."""
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class PeopleImportRow(Base):
    """One line of a list."""

    __tablename__ = "people_import_rows"
    __table_args__ = (Index("ix_people_import_rows_state", "import_id", "state", "line"),)

    import_id: Mapped[UUID] = mapped_column(ForeignKey("people_imports.id", ondelete="CASCADE"), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[RowState] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(String(400), default="")
    wanted: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    """Name, quota, aliases and groups of the user to be made."""
    sealed_password: Mapped[bytes | None] = mapped_column(LargeBinary)
    """To begin with; removed once it was handed out, or the import is undone."""
    user: Mapped[str] = mapped_column(String(24), default=lambda: str(ObjectId()))
    """The id that the user has or will have: chosen before the first try."""
    problems: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    """What is wrong, or what failed."""
    joined: Mapped[list[str]] = mapped_column(JSONB, default=list)
    """Groups that the user was added to."""
