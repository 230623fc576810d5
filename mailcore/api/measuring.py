"""How many requests there are and how long they take, by what the table calls them: never by what a client wrote."""

from __future__ import annotations

import time

from flask import Flask, Response, g, request

from mailcore import metrics

UNKNOWN = "unknown"
"""A path or method that no operation has."""


def measure(app: Flask) -> None:
    """Count the requests of an application and time each until its answer begins; a body that follows is not timed."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.began_s = time.monotonic()


def _end(response: Response) -> Response:
    took_s = time.monotonic() - g.began_s
    metrics.API_SECONDS.labels(_operation(), str(response.status_code)).observe(took_s)
    return response


def _operation() -> str:
    """Return the name of the operation or page of documentation that is asked for; there are as many as are routed."""
    return request.endpoint or UNKNOWN
