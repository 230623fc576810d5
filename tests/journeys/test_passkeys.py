"""A passkey in a real browser: registered, then asked as the second step of a sign-in."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from webauthn import options_to_json

from mailcore.errors import MailError
from mailcore.model.access import Protocol
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.factors import Factor
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from tests.builders import PASSWORD, MadeUser, make_services, make_user
from tests.journeys.chromium import CHROMIUM

ROOT = Path(__file__).resolve().parents[2]
PAGE = b"""<!doctype html><title>Passkeys</title><script>
async function post(path, value) {
  const answer = await fetch(path, {method: "POST", body: JSON.stringify(value ?? null)});
  return await answer.json();
}
async function journey() {
  const made = PublicKeyCredential.parseCreationOptionsFromJSON(await post("/registration-challenge"));
  const created = await navigator.credentials.create({publicKey: made});
  const registered = await post("/registration-attestation", created.toJSON());
  const asked = PublicKeyCredential.parseRequestOptionsFromJSON(await post("/authentication-challenge"));
  const signed = (await navigator.credentials.get({publicKey: asked})).toJSON();
  const first = await post("/authentication-assertion", signed);
  return {registered, first, second: await post("/authentication-assertion", signed)};
}
</script>"""


class Site:
    """The smallest page that stands on the services."""

    def __init__(self, services: MailServices, user: MadeUser) -> None:
        self.services = services
        self.user = user
        self.origin = ""
        self.challenge = b""
        self.nonce = Secret("")

    @property
    def where(self) -> dict[str, str]:
        return {"origin": self.origin, "rp_id": "localhost"}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "GET":
            start_response("200 OK", [("Content-Type", "text/html")])
            return [PAGE]
        body = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        name = environ["PATH_INFO"].strip("/").replace("-", "_")
        try:
            answer = getattr(self, name)(body)
        except MailError as error:
            answer = json.dumps({"error": type(error).__name__})
        start_response("200 OK", [("Content-Type", "application/json")])
        return [answer.encode()]

    def registration_challenge(self, _body: None) -> str:
        actor = Actor(ActorKind.USER, Door.PORTAL, self.user.address, self.user.user_id)
        options = self.services.passkeys.begin_registration(
            actor, self.user.user_id, **self.where, name="Laptop", rp_name="Eider", session="one",
            attachment="platform", verifies_user=True, password=Secret(PASSWORD),
        )  # fmt: skip
        self.challenge = options.challenge
        return options_to_json(options)

    def registration_attestation(self, credential: dict[str, Any]) -> str:
        actor = Actor(ActorKind.USER, Door.PORTAL, self.user.address, self.user.user_id)
        passkey = self.services.passkeys.finish_registration(
            actor, self.user.user_id, challenge=self.challenge, credential=credential, session="one"
        )
        return json.dumps({"id": passkey.id.hex()})

    def authentication_challenge(self, _body: None) -> str:
        login = self.services.authentication.login(self.user.address, Secret(PASSWORD), Protocol.PORTAL, "::1")
        self.nonce = self.services.second_factors.begin_step(login)
        step = self.services.second_factors.step_of(self.user.user_id, self.nonce)
        options = self.services.passkeys.begin_authentication(
            self.user.user_id, **self.where, session=step, verifies_user=True
        )
        self.challenge = options.challenge
        return options_to_json(options)

    def authentication_assertion(self, credential: dict[str, Any]) -> str:
        factors, user_id = self.services.second_factors, self.user.user_id
        step = factors.step_of(user_id, self.nonce)
        user = factors.finish_step(
            user_id,
            self.nonce,
            lambda: self.services.passkeys.check(
                user_id, challenge=self.challenge, credential=credential, session=step
            ),
        )
        return json.dumps({"signed_in": user.address})


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[Site]:
    services = make_services(directory_uri, shard_uris, redis_url)
    made = Site(services, make_user(services))
    server: WSGIServer = make_server("127.0.0.1", 0, made, handler_class=Quiet)
    made.origin = f"http://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()
    services.close()


@pytest.mark.root
def test_a_passkey_of_a_real_browser_signs_in_once(site: Site) -> None:
    if CHROMIUM is None:
        pytest.skip("Debian's chromium is not installed (`make test` installs it as root)")
    command = [sys.executable, "-m", "tests.journeys.browser", CHROMIUM, site.origin]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    passkey = site.services.second_factors.status(site.user.user_id).passkeys[0]
    assert result["registered"] == {"id": passkey.id.hex()}
    assert result["first"] == {"signed_in": site.user.address}
    assert result["second"] == {"error": "NonceInvalid"}, "the same answer once more"
    assert passkey.last_used_at is not None
    assert site.services.users.get(site.user.user_id).enabled_2fa == (Factor.WEBAUTHN,)
