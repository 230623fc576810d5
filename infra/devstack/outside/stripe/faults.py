"""How a call is refused, in Stripe's words."""

from __future__ import annotations


class ApiFault(Exception):
    """An answer that is no object.

    Attributes:
        status: of HTTP.
        kind: `invalid_request_error`, `card_error`, `idempotency_error` or `api_error`.
    """

    def __init__(
        self, message: str, *, status: int = 400, kind: str = "invalid_request_error", code: str = "", param: str = ""
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.code, self.param = status, kind, code, param

    def body(self) -> dict[str, object]:
        """Return what the answer holds."""
        error = {"message": str(self), "type": self.kind, "code": self.code, "param": self.param}
        return {"error": {name: value for name, value in error.items() if value}}


def missing(what: str, object_id: str) -> ApiFault:
    """No such object: of this account, that is; another account's answers the same."""
    return ApiFault(f"No such {what}: '{object_id}'", status=404, code="resource_missing", param="id")
