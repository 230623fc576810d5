"""What still waits to be sent."""

from __future__ import annotations

from typing import Any, Final

from mailcore.api.call import Call
from mailcore.api.fields import Nothing, Output
from mailcore.api.operation import Operation, Permission
from mailcore.model.roles import Action, Resource


def cancel(call: Call, _: Nothing) -> dict[str, Any]:
    """Take a message back, as far as it was not sent yet; its copy stays where it is."""
    call.services.outbound.cancel(call.on_behalf(), call.owner, call.path["queueId"])
    return {}


OPERATIONS: Final = (
    Operation(
        "DELETE", "/users/{user}/outbound/{queueId}", "cancelSending", "Take a message back that was not sent yet",
        Permission(Resource.MESSAGES, Action.DELETE), Nothing, Output, cancel,
    ),
)  # fmt: skip
