"""A webmail's settings: sign up and in with a second factor, profile, addresses, filters, reply, app password, log.

Over TCP to real processes, with the requests that WildDuck's own webmail sends, and one field more: who changes factors
by a user's own token proves the password.
"""

from __future__ import annotations

import base64
import http.client
import imaplib
import plistlib
import smtplib
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pyotp
import pytest
import trustme

from infra.devstack.endpoints import Endpoints
from mailcore.model.roles import Role
from mailcore.model.token import PLATFORM
from mailcore.services import MailServices
from tests.api.conftest import token
from tests.api.test_webmail_journey_compose import WHO, Webmail
from tests.builders import OPERATOR, make_tenant
from tests.system.sending import own_services
from tests.system.servers import RunningServer, environment_of, start

PASSWORD = "correct horse battery"
HOST = "mail.journey.test"


@pytest.fixture(scope="module")
def services(stack: Endpoints, fresh_uri: Callable[[str, str], str], redis_url: str) -> Iterator[MailServices]:
    made = own_services(stack, fresh_uri, redis_url, "account")
    leaf = trustme.CA().issue_cert(HOST)
    chain = b"".join(one.bytes() for one in leaf.cert_chain_pems)
    made.certificates.add(OPERATOR, chain, leaf.private_key_pem.bytes(), is_default=True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(services: MailServices, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    uri = services.settings.mongo_uri.reveal_text()
    environment = environment_of(uri, redis_url, ["api", "imap", "lmtp"]) | {"EIDER_HOSTNAME": HOST}
    with start(["api", "imap", "lmtp"], environment, tmp_path_factory.mktemp("account")) as found:
        yield found


def refused(webmail: Webmail, server: RunningServer, method: str, path: str, body: Any = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port("api"), timeout=30)
    headers = {"X-Access-Token": webmail.token, "Content-Type": "application/json"}
    connection.request(method, path, orjson.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    found = orjson.loads(answer.read())
    connection.close()
    assert "success" not in found
    return answer.status, found["code"]


def credentials(address: str, **more: object) -> dict[str, object]:
    said = {"username": address, "password": PASSWORD, "protocol": "WEBMAIL", "scope": "master", "appId": ""}
    return {**said, "token": True, **WHO, **more}


def deliver(server: RunningServer, address: str, subject: str) -> None:
    with smtplib.LMTP("127.0.0.1", server.port("lmtp"), timeout=30) as client:
        client.sendmail("boss@else.test", [address], f"From: boss@else.test\r\nSubject: {subject}\r\n\r\nx\r\n")


def test_the_settings_of_a_webmail(services: MailServices, server: RunningServer) -> None:
    _, domain = make_tenant(services)
    backend = Webmail(server, token(services, PLATFORM, Role.ROOT))
    address = f"ann@{domain}"

    # signing up: the webmail's backend, with its own token
    assert refused(backend, server, "GET", f"/users/resolve/{address}") == (404, "UserNotFound")
    user_id = backend.ask(
        "POST", "/users",
        {"username": address, "password": PASSWORD, "name": "Ann", "address": "", "quota": 1 << 30, "recipients": "",
         "forwards": "", "language": "et", "allowUnsafe": False, "spamLevel": 50, "fromWhitelist": [], **WHO},
    )["id"]  # fmt: skip
    assert backend.ask("GET", f"/users/resolve/{address}?sess=&ip=")["id"] == user_id

    # signing in, first without, then with a second factor
    first = backend.ask("POST", "/authenticate", credentials(address))
    assert (first["id"], first["scope"], first["require2fa"]) == (user_id, "master", False)
    ann = Webmail(server, first["token"], user_id)
    setup = ann.post("/2fa/totp/setup", {"label": address, "issuer": "Webmail", "password": PASSWORD})
    assert setup["qrcode"].startswith("data:image/")
    codes = pyotp.TOTP(setup["seed"])
    ann.post("/2fa/totp/enable", {"token": codes.now()})
    asked = backend.ask("POST", "/authenticate", credentials(address))
    assert (asked["require2fa"], asked["require2faEnabled"], "token" in asked) == (["totp"], True, False)
    path = f"/users/{user_id}/2fa/totp/check"
    wrong = {"token": "000000", "totpNonce": asked["totpNonce"], **WHO}
    assert refused(backend, server, "POST", path, wrong) == (403, "InvalidToken")
    later = codes.at(time.time() + 30)
    checked = backend.ask("POST", path, {"token": later, "totpNonce": asked["totpNonce"], **WHO})
    ann = Webmail(server, checked["token"], user_id)

    # the profile; what is left out stays, what is a user's to change is taken
    shown = ann.get("")
    assert (shown["name"], shown["enabled2fa"], shown["limits"]["quota"]["allowed"]) == ("Ann", ["totp"], 1 << 30)
    ann.put("", {"name": "Ann Example", "spamLevel": 75, "targets": [], "uploadSentMessages": False, "pubKey": ""})
    assert (ann.get("")["name"], ann.get("")["spamLevel"]) == ("Ann Example", 75)
    changed = {"existingPassword": "wrong", "password": "another long one", **WHO}
    assert refused(ann, server, "PUT", f"/users/{user_id}", changed) == (403, "AuthFailed")

    # addresses, which the backend gives
    wanted = {"address": f"ann.sales@{domain}", "name": "Sales", "main": False}
    assert refused(ann, server, "POST", f"/users/{user_id}/addresses", wanted) == (403, "MissingPrivileges")
    made = backend.ask("POST", f"/users/{user_id}/addresses", wanted)["id"]
    ann.put(f"/addresses/{made}", {"name": "", "main": True})
    listed = ann.get("/addresses")["results"]
    assert [(one["address"], one["main"]) for one in listed] == [(address, False), (f"ann.sales@{domain}", True)]
    assert ann.get(f"/addresses/{made}")["main"] is True
    old = next(one["id"] for one in listed if not one["main"])
    assert refused(ann, server, "DELETE", f"/users/{user_id}/addresses/{made}") == (400, "NotPermitted")
    ann.put(f"/addresses/{old}", {"main": True})

    # a filter sorts what comes
    box = ann.post("/mailboxes", {"path": "Boss"})["id"]
    query = {"from": "boss", "to": "", "subject": "", "text": "", "ha": "", "size": ""}
    action = {"seen": "", "flag": True, "delete": "", "spam": "", "mailbox": box, "targets": []}
    rule = ann.post("/filters", {"name": "Boss", "query": query, "action": action, "disabled": False})["id"]
    deliver(server, address, "Rule me")
    assert ann.wait_for(box, "Rule me")["flagged"] is True
    [one] = ann.get("/filters")["results"]
    assert (one["query"], one["action"]) == ([["from", "(boss)"]], [["flag it"], ["move to folder", "Boss"]])
    ann.put(f"/filters/{rule}", {"name": "Off", "disabled": True})
    assert ann.get(f"/filters/{rule}")["disabled"] is True
    ann.delete(f"/filters/{rule}")

    # an automatic reply
    ann.put("/autoreply", {"status": True, "name": "", "subject": "Away", "text": "Back soon", "html": "",
                           "start": False, "end": "2031-01-01T00:00:00.000Z"})  # fmt: skip
    assert (ann.get("/autoreply")["status"], ann.get("")["autoreply"]) == (True, True)
    ann.delete("/autoreply")

    # an app password for a phone, whose profile is signed; the master password opens no IMAP any more
    asp = ann.post("/asps", {"description": "iPhone", "scopes": ["imap", "smtp"], "generateMobileconfig": True,
                             "address": address, "existingPassword": PASSWORD})  # fmt: skip
    profile = base64.b64decode(asp["mobileconfig"])
    content = plistlib.loads(profile[profile.index(b"<?xml") : profile.index(b"</plist>") + 8])
    assert content["PayloadContent"][0]["IncomingPassword"] == asp["password"]
    with imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=30) as client:
        with pytest.raises(imaplib.IMAP4.error):
            client.login(address, PASSWORD)
        client.login(address, asp["password"])
    assert [one["description"] for one in ann.get("/asps", showAll="true")["results"]] == ["iPhone"]
    ann.delete(f"/asps/{asp['id']}")

    # the log tells of all that
    ends_at = time.monotonic() + 30
    while True:
        events = ann.get("/authlog", limit=20, next="", previous="", page="", action="", filterip="")["results"]
        if {"imap", "api"} <= {one["protocol"].lower() for one in events}:
            break
        assert time.monotonic() < ends_at, events
        time.sleep(0.1)
    assert ann.get(f"/authlog/{events[0]['id']}")["id"] == events[0]["id"]

    # and signing out
    ann.ask("DELETE", "/authenticate")
    assert refused(ann, server, "GET", f"/users/{user_id}") == (403, "InvalidToken")
    backend.user = user_id
    backend.delete(f"/addresses/{made}")  # ends sessions, so it comes last
    assert [one["address"] for one in backend.get("/addresses")["results"]] == [address]
