"""The server: HTTP in, the world behind one lock, objects out; kept in a file where it has one."""

from __future__ import annotations

import contextlib
import copy
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from infra.devstack.outside.stripe import API_KEY, WEBHOOK_SECRET, pages, parameters, routes, sessions, subscriptions
from infra.devstack.outside.stripe.faults import ApiFault
from infra.devstack.outside.stripe.webhooks import Webhooks
from infra.devstack.outside.stripe.world import Object, World

MOST_BYTES = 1 << 20
POLL_S = 0.05


class StripeServer:
    """One account with its clock; `with` serves it.

    Args:
        endpoint: URL that is told what happens; "" for none.
        kept_in: file that holds the world between runs.
        is_ticking: its clock is never behind the machine's.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        endpoint: str = "",
        kept_in: Path | None = None,
        now: int | None = None,
        is_ticking: bool = False,
    ) -> None:
        self.world = World()
        if now is not None:
            self.world.now = now
        self._kept_in = kept_in
        self._is_ticking = is_ticking
        if kept_in is not None and kept_in.exists():
            self.world = World.from_json(json.loads(kept_in.read_text()))
            self.world.now = max(self.world.now, now or 0)
        self.lock = threading.RLock()
        self.webhooks = Webhooks(endpoint, WEBHOOK_SECRET) if endpoint else None
        if self.webhooks is not None:
            self.world.on_event = self.webhooks.told
        self.calls: list[tuple[str, str]] = []
        """Method and path of every call."""
        self._server = ThreadingHTTPServer((host, port), type("Handler", (_Handler,), {"stripe": self}))
        self.url = f"http://{host}:{self._server.server_address[1]}"
        self.world.base_url = self.url

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(POLL_S,), daemon=True, name="stripe").start()
        if self.webhooks is not None:
            self.webhooks.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.webhooks is not None:
            self.webhooks.stop()
        self._server.shutdown()
        self._server.server_close()

    def advance(self, *, days: float = 0, seconds: int = 0) -> None:
        """Let time go by, with all that happens in it."""
        with self.lock:
            subscriptions.advance(self.world, self.world.now + seconds + int(days * subscriptions.DAY_S))
            self.keep()

    def _tick(self) -> None:
        """Let the time go by that went by outside."""
        if self._is_ticking and time.time() > self.world.now:
            subscriptions.advance(self.world, int(time.time()))

    def keep(self) -> None:
        """Write the world down, whole or not at all."""
        if self._kept_in is not None:
            written = self._kept_in.with_suffix(".new")
            written.write_text(json.dumps(self.world.to_json(), default=str))
            written.replace(self._kept_in)

    def call(self, method: str, path: str, form: str, idempotency_key: str) -> Object:
        """Answer one call; a call repeated under its key is answered as it was the first time.

        Raises:
            ApiFault: it is refused.
        """
        self.calls.append((method, path))
        self._tick()
        route, ids = routes.find(method, path)
        asked = [method, path, form]
        before = self.world.used_keys.get(idempotency_key) if idempotency_key else None
        if before is not None:
            if before[0] != asked:
                raise ApiFault("Keys for idempotent requests are for one request", kind="idempotency_error")
            answer: Object = before[1]
            return answer
        given = parameters.check(parameters.read_form(form), route.shape)
        wanted = given.pop("expand", None) or []
        found: Object = _shown(route.answer(routes.Call(self.world, given, ids, self.url)))
        for name in wanted:
            _expand(self.world, found, name)
        if idempotency_key and method == "POST":
            self.world.used_keys[idempotency_key] = (asked, copy.deepcopy(found))
        if method != "GET":
            self.keep()
        return found

    def page(self, method: str, path: str, form: str) -> tuple[int, str]:
        """Return a page, or with status 303 where to go next.

        Raises:
            ApiFault: there is no such page.
        """
        self._tick()
        card = (parse_qs(form).get("card") or [""])[0]
        kind, _, object_id = path.lstrip("/").rpartition("/")
        if kind == "c/pay":
            session = self.world.get("checkout.session", object_id)
            if method == "GET":
                return 200, pages.checkout(self.world, session)
            try:
                sessions.subscribe(self.world, session, card)
            except ApiFault as fault:
                return 402, pages.checkout(self.world, session, str(fault))
            return 303, str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])
        if kind == "p/session":
            session = self.world.get("billing_portal.session", object_id)
            if method == "GET":
                return 200, pages.portal(session)
            sessions.change_card(self.world, session, card)
            return 303, str(session["return_url"])
        if kind == "i":
            invoice = self.world.get("invoice", object_id.removesuffix(".pdf"))
            if method == "GET":
                return 200, pages.invoice(invoice)
            try:
                sessions.pay(self.world, invoice, card)
            except ApiFault as fault:
                return 402, pages.invoice(invoice, str(fault))
            return 303, f"{self.url}/i/{invoice['id']}"
        raise ApiFault("No such page", status=404)


def _expand(world: World, found: Object, name: str) -> None:
    """Put whole discounts in the place of their ids: of an object, or of each of a list.

    Raises:
        ApiFault: something else is to be expanded.
    """
    if name not in {"discounts", "data.discounts"}:
        raise ApiFault("This server expands discounts alone", param="expand")
    for each in found["data"] if name.startswith("data.") else [found]:
        each["discounts"] = [_shown(world.get("discount", discount_id)) for discount_id in each["discounts"]]


def _shown(found: Any) -> Any:
    """Return an object without what only this server knows of it."""
    if isinstance(found, dict):
        return {name: _shown(value) for name, value in found.items() if not name.startswith("_")}
    return [_shown(each) for each in found] if isinstance(found, list) else found


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    stripe: StripeServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        self._answer("GET")

    def do_POST(self) -> None:
        """Answer."""
        self._answer("POST")

    def do_DELETE(self) -> None:
        """Answer."""
        self._answer("DELETE")

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _answer(self, method: str) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if size > MOST_BYTES:
            self._send(413, "text/plain", b"")
            return
        body = self.rfile.read(size).decode()
        url = urlsplit(self.path)
        try:
            with self.stripe.lock:
                if url.path.startswith("/v1/"):
                    self._call(method, url.path, url.query if method == "GET" else body)
                else:
                    self._page(method, url.path, body)
        except ApiFault as fault:
            self._send(fault.status, "application/json", json.dumps(fault.body()).encode())

    def _call(self, method: str, path: str, form: str) -> None:
        if self.headers.get("Authorization") != f"Bearer {API_KEY}":
            raise ApiFault("Invalid API Key provided", status=401)
        found = self.stripe.call(method, path, form, self.headers.get("Idempotency-Key") or "")
        self._send(200, "application/json", json.dumps(found, default=str).encode())

    def _page(self, method: str, path: str, form: str) -> None:
        if path == "/advance" and method == "POST":
            self.stripe.advance(days=float(parse_qs(form)["days"][0]))
            self._send(200, "text/plain", str(self.stripe.world.now).encode())
            return
        status, text = self.stripe.page(method, path, form)
        self.stripe.keep()
        if status == 303:
            self._send(303, "text/plain", b"", text)
        else:
            self._send(status, "text/html; charset=utf-8", text.encode())

    def _send(self, status: int, kind: str, body: bytes, location: str = "") -> None:
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)
