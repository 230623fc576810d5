"""Sealing secrets anew when there is a newer key."""

from __future__ import annotations

from mailcore.model.actor import SYSTEM
from portal import rotation
from workers.context import JobContext


def rotate(context: JobContext) -> None:
    """Seal anew what an older key sealed; without a newer key nothing is written."""
    if any(state.older for state in context.services.rotation.status()):
        context.services.rotation.rotate(SYSTEM)
    if context.portal is not None:
        with context.in_portal() as portal:
            rotation.rotate(portal.mail)
