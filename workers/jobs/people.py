"""Making and unmaking the people of a list."""

from __future__ import annotations

from uuid import UUID

from mailcore.model.actor import Actor, ActorKind, Door
from portal.people import import_queries, imports
from portal.people.models import ImportState
from portal.progress import announce
from workers.context import JobContext


def run_import(context: JobContext, import_id: str, identity: str, remote_address: str, request_id: str) -> None:
    """Make whom an import plans; run again it goes on where it stopped."""
    with context.in_portal() as portal:
        member = _member(identity, remote_address, request_id)
        imports.run(portal.mail, member, UUID(import_id), _tell(context, import_id))


def undo_import(context: JobContext, import_id: str, identity: str, remote_address: str, request_id: str) -> None:
    """Delete whom an import made; run again it goes on where it stopped."""
    with context.in_portal() as portal:
        member = _member(identity, remote_address, request_id)
        imports.run_undo(portal.mail, member, UUID(import_id), _tell(context, import_id))


def resume_imports(context: JobContext) -> None:
    """Go on with what is under way and whose worker died, or whose job was lost; twice is once."""
    with context.in_portal():
        found = [(one.id, one.state, one.brought_by) for one in import_queries.under_way()]
    for import_id, state, identity in found:
        job = "people.import" if state == ImportState.RUNNING else "people.undo_import"
        context.enqueue(job, import_id=str(import_id), identity=identity, remote_address="", request_id="")


def _tell(context: JobContext, import_id: str) -> imports.Tell:
    """Return what lets who has the import's page open see how far it is."""
    return lambda: announce(context.redis, import_queries.topic(UUID(import_id)))


def _member(identity: str, remote_address: str, request_id: str) -> Actor:
    """Return the member on whose word it is done."""
    return Actor(ActorKind.MEMBER, Door.WORKER, identity, None, remote_address, request_id)
