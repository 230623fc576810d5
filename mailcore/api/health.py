"""Whether the service works."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from mailcore.api.call import Call
from mailcore.api.fields import Nothing, Output
from mailcore.api.operation import Operation

VERSION: Final = version("eider")


class Health(Output):
    """The service works."""

    version: str


def get_health(call: Call, _: Nothing) -> dict[str, Any]:
    """Ask the directory; one round trip.

    Raises:
        StoreUnavailable: it did not answer.
    """
    call.services.shards.list_all()
    return {"version": VERSION}


OPERATIONS: Final = (
    Operation("GET", "/health", "getHealth", "Is the service well?", None, Nothing, Health, get_health),
)
