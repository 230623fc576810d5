"""DKIM keys, TLS certificates and settings of the site by the API."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
import trustme
from bson import ObjectId
from cryptography.hazmat.primitives.asymmetric import ed25519

from mailcore.api.application import Application
from mailcore.model import site_settings
from mailcore.model.limits import UserLimits
from mailcore.model.roles import Role
from mailcore.model.token import PLATFORM
from mailcore.services import MailServices
from tests.api.conftest import Answer, Api, token
from tests.builders import OPERATOR, MadeUser, make_user


@pytest.fixture
def domain(user: MadeUser) -> str:
    return user.address.partition("@")[2]


def test_a_dkim_key_is_brought_found_and_deleted(tenant: Api, platform: Api, domain: str) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    seed = base64.b64encode(key.private_bytes_raw()).decode()
    fields = {"domain": domain, "selector": "Mail2026", "privateKey": seed, "description": "Ours", "sess": ""}
    made = tenant.post("/dkim", fields).body
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    assert made["dnsTxt"] == {"name": f"mail2026._domainkey.{domain}", "value": f"v=DKIM1; k=ed25519; p={public}"}
    assert made["signs"]
    assert made["publicKey"].startswith("-----BEGIN PUBLIC KEY-----")
    shown = platform.get(f"/dkim/{made['id']}")
    assert shown.body == {**made, "success": True}
    listed = tenant.get(f"/dkim?query={domain.upper()}&page=")
    assert (listed.body["total"], listed.body["results"][0]["id"]) == (1, made["id"])
    assert tenant.get(f"/dkim/resolve/{domain}").body["id"] == made["id"]
    for answer in (shown, listed):
        assert seed.encode() not in answer.raw
        assert b"PRIVATE" not in answer.raw
    again = tenant.post("/dkim", fields)
    assert (again.status, again.body["code"]) == (400, "DkimExists")
    assert tenant.delete(f"/dkim/{made['id']}").status == 200
    for path in (f"/dkim/{made['id']}", f"/dkim/resolve/{domain}", "/dkim/x", "/dkim/resolve/%00"):
        answer = tenant.get(path)
        assert (answer.status, answer.body["code"]) == (404, "DkimNotFound")


def test_a_dkim_key_is_made_here(tenant: Api, domain: str) -> None:
    made = tenant.post("/dkim", {"domain": domain, "selector": "s1"}).body
    assert not made["signs"]
    assert made["dnsTxt"]["value"].startswith("v=DKIM1; k=rsa; p=MII")
    assert made["publicKey"].startswith("-----BEGIN PUBLIC KEY-----")
    bad = tenant.post("/dkim", {"domain": domain, "selector": "s2", "privateKey": "x"})
    assert (bad.status, bad.body["code"]) == (400, "InputValidationError")


def test_dkim_keys_of_others_are_not_there(tenant: Api, own: Api, app: Application, services: MailServices) -> None:
    stranger = make_user(services)
    theirs = stranger.address.partition("@")[2]
    api = Api(app, token(services, PLATFORM))
    made = api.post("/dkim", {"domain": theirs, "selector": "s1"}).body["id"]
    assert tenant.get("/dkim").body["total"] == 0
    assert tenant.get(f"/dkim/{made}").body["code"] == "DkimNotFound"
    assert tenant.delete(f"/dkim/{made}").body["code"] == "DkimNotFound"
    assert tenant.get(f"/dkim/resolve/{theirs}").body["code"] == "DkimNotFound"
    assert tenant.post("/dkim", {"domain": theirs, "selector": "s2"}).body["code"] == "DomainNotFound"
    assert own.get("/dkim").body["code"] == "MissingPrivileges"


def _certificate(*names: str) -> tuple[str, str, list[str]]:
    leaf = trustme.CA().issue_cert(*names)
    chain = [pem.bytes().decode() for pem in leaf.cert_chain_pems]
    return leaf.private_key_pem.bytes().decode(), chain[0], chain[1:]


def test_a_certificate_is_added_found_and_deleted(platform: Api, tenant: Api, services: MailServices) -> None:
    name = f"mail.{ObjectId()}.test"
    key, cert, ca = _certificate(name, f"alt.{name}")
    fields = {"servername": name, "privateKey": key, "cert": cert, "ca": ca, "description": "Ours"}
    made = platform.post("/certs", fields)
    assert made.body["altNames"] == sorted([name, f"alt.{name}"])
    found = platform.get(f"/certs/{made.body['id']}")
    assert (found.body["hasCert"], found.body["description"], found.body["acme"]) == (True, "Ours", False)
    listed = platform.get(f"/certs?query=alt.{name}&altNames=yes")
    assert [one["id"] for one in listed.body["results"]] == [made.body["id"]]
    assert platform.get(f"/certs/resolve/alt.{name}").body["id"] == made.body["id"]
    for answer in (made, found, listed):
        assert b"PRIVATE KEY" not in answer.raw
    stored = services.certificates.get(ObjectId(made.body["id"]))
    assert b"PRIVATE KEY" not in stored.sealed_key
    assert tenant.get("/certs").body["code"] == "MissingPrivileges"
    assert platform.delete(f"/certs/{made.body['id']}").status == 200
    for path in (f"/certs/{made.body['id']}", "/certs/x", "/certs/resolve/%00", f"/certs/resolve/{name}"):
        assert platform.get(path).body["code"] == "CertNotFound"


def test_a_certificate_that_does_not_fit_is_refused(platform: Api) -> None:
    key, cert, _ = _certificate("mail.fits.test")
    for change in (
        {"servername": "other.test"},
        {"privateKey": ""},
        {"cert": "x"},
        {"privateKey": _certificate("mail.fits.test")[0]},
        {"servername": "a b"},
    ):
        answer = platform.post("/certs", {"servername": "mail.fits.test", "privateKey": key, "cert": cert, **change})
        assert (answer.status, answer.body["code"]) == (400, "InputValidationError"), change
    ordered = platform.post("/certs", {"servername": "mail.fits.test", "acme": True})
    assert "EIDER_ACME_DIRECTORY" in ordered.body["error"]


def test_settings_are_told_set_and_followed(app: Application, services: MailServices, tenant: Api) -> None:
    api = Api(app, token(services, PLATFORM, Role.SETTINGS))
    listed = api.get("/settings").body["settings"]
    assert [one["key"] for one in listed] == list(site_settings.ALL)
    assert {one["type"] for one in listed} <= {kind.value for kind in site_settings.Kind}
    user = make_user(services)
    assert api.post("/settings/const:max:forwards", {"value": "123"}).body["key"] == "const:max:forwards"
    try:
        assert api.get("/settings/const:max:forwards").body["value"] == 123
        (found,) = api.get("/settings?filter=max:forwards").body["settings"]
        assert (found["value"], found["default"], found["custom"]) == (123, UserLimits().forwards_per_day, True)
        services.placement.forget(user.user_id)
        assert services.placement.home(user.user_id).limits.forwards_per_day == 123
    finally:
        api.post("/settings/const:max:forwards", {"value": UserLimits().forwards_per_day})
    assert tenant.get("/settings").body["code"] == "MissingPrivileges"
    assert api.get("/settings/none").status == 404


def _too_many_mailboxes(api: Api, user: MadeUser, path: str) -> Answer:
    return api.post(f"{path}/mailboxes", {"path": f"box {ObjectId()}"})


def _too_many_app_passwords(api: Api, user: MadeUser, path: str) -> Answer:
    return api.post(f"{path}/asps", {"description": "x"})


def _too_many_recipients(api: Api, user: MadeUser, path: str) -> Answer:
    to = [{"address": f"x{number}@else.test"} for number in range(4)]
    return api.post(f"{path}/submit", {"from": {"address": user.address}, "to": to, "subject": "x", "text": "x"})


@pytest.mark.parametrize(
    ("key", "value", "ask"),
    [
        ("const:max:mailboxes", 3, _too_many_mailboxes),
        ("const:asp:limit", 1, _too_many_app_passwords),
        ("const:max:rcpt_to", 3, _too_many_recipients),
    ],
)
def test_a_setting_that_is_a_limit_is_one(
    app: Application,
    services: MailServices,
    platform: Api,
    key: str,
    value: int,
    ask: Callable[[Api, MadeUser, str], Answer],
) -> None:
    user = make_user(services)
    path = f"/users/{user.user_id}"
    settings = Api(app, token(services, PLATFORM, Role.SETTINGS))
    services.app_passwords.create(OPERATOR, user.user_id, "first")
    assert ask(platform, user, path).status == 200
    was = settings.get(f"/settings/{key}").body["value"]
    assert settings.post(f"/settings/{key}", {"value": value}).status == 200
    try:
        services.placement.forget(user.user_id)
        assert ask(platform, user, path).status in {400, 403}
    finally:
        settings.post(f"/settings/{key}", {"value": was})
    services.placement.forget(user.user_id)
    assert ask(platform, user, path).status == 200


DEFERS = str(site_settings.ALL["const:sender:defer_times"].default)


def test_a_setting_without_effect_says_so() -> None:
    without = {one.key for one in site_settings.ALL.values() if not one.limit}
    assert without == {one.key for one in site_settings.ALL.values() if "without effect" in one.description}
    assert len(without) == 8


def test_a_setting_without_effect_is_not_taken(platform: Api) -> None:
    answer = platform.post("/settings/const:authlog:time", {"value": "7d"})
    assert answer.status == 400
    assert answer.body["error"] == "Nothing here depends on const:authlog:time; what holds: 30 days"
    (told,) = platform.get("/settings?filter=authlog").body["settings"]
    assert (told["value"], told["custom"]) == (30 * site_settings.DAY_MS, False)
    assert platform.post("/settings/const:authlog:time", {"value": "30d"}).status == 200


@pytest.mark.parametrize(
    ("key", "given", "kept"),
    [
        ("const:archive:time", "25d", 25 * site_settings.DAY_MS),
        ("const:max:storage", "1 GB", 1 << 30),
        ("const:max:imap:download", "10 GB", 10 << 30),
        ("const:max:imap:upload", 5, 5),
        ("const:domaincache:enabled", "off", False),
        ("const:sender:defer_times", DEFERS.replace(" ", ""), DEFERS),
        ("const:sender:defer_times", "5m,1h", None),
        ("const:max:storage", "10 GB", None),
        ("const:max:filters", "many", None),
        ("const:max:filters", -1, None),
        ("const:max:filters", True, None),
        ("const:max:filters", 1.5, None),
        ("const:max:filters", 1 << 60, None),
        ("const:archive:time", "25 parsecs", None),
        ("const:domaincache:enabled", 2, None),
        ("const:sender:defer_times", "5m,,1h", None),
        ("const:sender:defer_times", 0, None),
    ],
)
def test_a_setting_has_its_kind_and_limits(platform: Api, key: str, given: object, kept: object) -> None:
    answer = platform.post(f"/settings/{key}?dry_run=true", {"value": given})
    if kept is None:
        assert (answer.status, answer.body["code"]) == (400, "InputValidationError")
    else:
        assert answer.body["plan"] == [{"change": "setting.changed", "key": key, "value": kept}]


def test_another_process_follows_what_is_set(services: MailServices) -> None:
    """Set by one process, it counts in another at the next look; and there is one every 20 s."""
    services.placement.directory.site_settings.put("const:max:filters", 77)
    try:
        services.site_settings.follow()
        assert services.placement.home(make_user(services).user_id).limits.filters == 77
    finally:
        services.placement.directory.site_settings.put("const:max:filters", UserLimits().filters)
        services.site_settings.follow()
