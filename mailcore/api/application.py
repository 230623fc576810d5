"""Routes as a WSGI application, of Werkzeug's parts: no templates, sessions, contexts or command line (decision 42)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from mailcore.api.measuring import count

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

View = Callable[[Request, dict[str, Any]], Response]
"""Answers a request, given what stands in its path."""
Failed = Callable[[Exception, str], Response]
"""Answers for what went wrong within the route of that name; "" where there is none."""


class Application:
    """Answers every request by the view of its route, and counts it; strict about slashes."""

    def __init__(self, failed: Failed) -> None:
        self.url_map = Map(strict_slashes=True, merge_slashes=False)
        self._views: dict[str, View] = {}
        self._failed = failed

    def add(self, method: str, rule: str, name: str, view: View) -> None:
        """Add a route; HEAD is answered where GET is."""
        self.url_map.add(Rule(rule, endpoint=name, methods=[method]))
        self._views[name] = view

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as WSGI wants it (PEP 3333)."""
        return self.respond(Request(environ))(environ, start_response)

    def respond(self, request: Request) -> Response:
        """Return the answer to a request, whatever happens."""
        began_s = time.monotonic()
        name = ""
        try:
            name, path = self.url_map.bind_to_environ(request.environ).match()
            response = self._views[name](request, dict(path))
        except Exception as error:  # noqa: BLE001 - the top of a request
            response = self._failed(error, name)
        count(name, response.status_code, time.monotonic() - began_s)
        return response
