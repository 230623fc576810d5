"""Every page in Chromium: nothing for axe to find, nothing wider than a phone, nothing refused by the policy.

The map of routes is walked; a page with a name in its path uses the `MAKERS` of test_matrix.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.serving import make_server

from mailcore.model.factors import Factor
from mailcore.model.filter import of_user
from mailcore.services import MailServices
from portal.access import Open, need_of
from portal.accounts import sign_up
from portal.accounts.models import LinkPurpose, Member
from portal.app import UNGUARDED, create_app
from portal.database import session, utc_now
from portal.mail_plane import EXTENSION
from portal.permissions import Permission, Role, allows
from portal.showing import moment
from tests.builders import OPERATOR, PASSWORD
from tests.journeys.chromium import CHROMIUM
from tests.portal.conftest import MadeOrganisation, make_organisation, token_of
from tests.portal.people import furnished_user, queued, user_of
from tests.portal.test_matrix import API, MAKERS
from tests.system.clients.packages import FOLDER

ROOT: Final = Path(__file__).parents[2]
AXE: Final = FOLDER / "node_modules/axe-core/axe.min.js"
FIRST_LOAD_BYTES: Final = 100_000
VIEWS: Final = ([1440, "light"], [390, "dark"])
NO_PAGE: Final = frozenset(
    {
        "health",
        "audit.export",
        "domains.zone",
        "domains.records",
        "domains.progress",
        "domains.writing_progress",
        "overview.progress",
        "billing.export",
        "dashboards.data",
        "dashboards.export",
        "staff_charts.data",
        "staff_charts.export",
        "own_exports.progress",
        "own_exports.fetch",
        "people_imports.progress",
        "people_imports.problems",
    }
)
"""What is read by GET and is no page."""


def chromium() -> str:
    if CHROMIUM is None or not AXE.is_file():
        pytest.skip("chromium or axe-core is not installed: run `make test` once as root, with npm in reach")
    return CHROMIUM


@pytest.fixture(scope="module")
def made(portal_app: Flask, mail_services: MailServices) -> Iterator[MadeOrganisation]:
    with portal_app.extensions[EXTENSION].database.scope():
        yield make_organisation(mail_services, "Harbour Maps")


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The portal on a port of its own."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.port}"
    finally:
        server.shutdown()


@pytest.fixture(scope="module")
def address(portal_app: Flask) -> Iterator[str]:
    with served(portal_app) as base:
        yield base


def paths(app: Flask, mail: MailServices, made: MadeOrganisation, role: Role | None) -> list[str]:
    """Every page that a role may see, or that everybody may; `static` files and exports are none."""
    found = []
    for rule in app.url_map.iter_rules():
        need = need_of(app.view_functions[rule.endpoint]) if rule.endpoint not in UNGUARDED else None
        if (
            "GET" not in (rule.methods or set())
            or need is None
            or rule.endpoint in NO_PAGE
            or is_for_programs(rule.endpoint)
        ):
            continue
        is_wanted = need is Open.PUBLIC if role is None else isinstance(need, Permission) and allows(role, need)
        if is_wanted:
            values = {name: MAKERS[name](mail, made) for name in rule.arguments}
            found.append(app.url_map.bind("localhost").build(rule.endpoint, values, method="GET"))
    return found


def is_for_programs(endpoint: str) -> bool:
    return endpoint.partition(".")[0] in {API, "published"}


def look(address: str, who: tuple[str, str] | None, pages: list[str], **more: Any) -> list[dict[str, Any]]:
    """What the browser found on these pages."""
    asked = {"chromium": chromium(), "axe": str(AXE), "base": address, "who": who, "pages": pages, "views": VIEWS}
    asked["pictures"] = os.environ.get("EIDER_PICTURES")
    done = subprocess.run(
        [sys.executable, "-m", "tests.portal.look"],
        input=json.dumps(asked | more), capture_output=True, text=True, cwd=ROOT, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(found) == len(pages) * len((asked | more)["views"])  # type: ignore[arg-type]
    return found


def faults(found: list[dict[str, Any]]) -> list[str]:
    return [
        f"{one['path']} at {one['width']} {one['scheme']}: {one['status']} {one['axe']} {one['problems']}"
        f"{' too wide' if one['too_wide'] else ''}"
        for one in found
        if one["axe"] or one["too_wide"] or one["problems"] or one["status"] >= 500
    ]


@pytest.mark.timeout(600)
def test_no_page_of_a_member_has_anything_to_find(
    portal_app: Flask, mail_services: MailServices, made: MadeOrganisation, address: str
) -> None:
    pages = paths(portal_app, mail_services, made, Role.OWNER)
    found = look(address, (made.members[Role.OWNER].email, PASSWORD), pages)
    assert [one["at"] for one in found if one["at"].startswith("/sign-in")] == []
    assert faults(found) == []
    assert len(pages) >= 10


@pytest.mark.timeout(600)
def test_no_page_of_a_mail_user_has_anything_to_find(
    portal_app: Flask, mail_services: MailServices, made: MadeOrganisation, address: str
) -> None:
    user = furnished_user(mail_services, made)
    rule = mail_services.filters.list_of(of_user(user.id)).rules[0]
    pages = [
        path
        for path in paths(portal_app, mail_services, made, Role.MAIL_USER)
        if not path.startswith(("/account/filters/", "/account/sent/"))
        or path in {"/account/filters/", "/account/filters/new", "/account/sent/"}
    ]
    own = [f"/account/filters/{rule.id}", f"/account/sent/{queued(mail_services, user.id)}"]
    found = look(address, (user.address, PASSWORD), [*pages, *own], own=True, language="de")
    assert [one["at"] for one in found if "sign-in" in one["at"]] == []
    assert faults(found) == []
    assert len(pages) >= 8


@pytest.mark.timeout(600)
def test_no_public_page_has_anything_to_find_and_the_first_is_light(
    portal_app: Flask, mail_services: MailServices, made: MadeOrganisation, address: str
) -> None:
    email = f"new-{made.organisation.tenant}@outside.test"
    sign_up.ask(mail_services, "Harbour", "Ada", email, "eu", "en")
    token = token_of(mail_services, LinkPurpose.SIGN_UP, email)
    user = furnished_user(mail_services, made)
    asked = f"/confirm-forwarding/{mail_services.targets.token(user.id, user.onward.asks[0])}"
    pages = ["/", "/missing", f"/sign-up/confirm/{token}", asked, *paths(portal_app, mail_services, made, None)]
    found = look(address, None, list(dict.fromkeys(pages)), language="de")
    assert faults(found) == []
    assert found[0]["weight"] < FIRST_LOAD_BYTES


TIMES = "[...document.querySelectorAll('time')].map(one => [one.dateTime, one.textContent, one.title])"


def test_times_are_shown_in_the_zone_of_who_reads_them(portal_app: Flask, made: MadeOrganisation, address: str) -> None:
    who = (made.members[Role.OWNER].email, PASSWORD)
    zone = "Asia/Kathmandu"
    [page] = look(address, who, ["/profile/security"], views=VIEWS[:1], ask=TIMES, zone=zone, language="de")
    assert page["answer"], "somebody signed in"
    for at, shown, on_pointing in page["answer"]:
        known = datetime.fromisoformat(at)
        assert f"{known.astimezone(ZoneInfo(zone)):%H:%M:%S}" in shown
        assert f"{known:%H:%M:%S} UTC" in on_pointing
    with portal_app.test_request_context():
        text = str(moment(known))
    assert "UTC</time>" in text, "without scripts"


ENTERED = """() => {
  const entered = document.querySelector("input[name=start]");
  const shown = entered.value;
  entered.value = "2026-12-24T09:00";
  const hints = [...document.querySelectorAll(".hint")].map(one => one.innerText).join();
  return [shown, new FormData(entered.form).get("start"), hints.includes("UTC")];
}"""


@pytest.mark.parametrize(
    ("zone", "answer"),
    [
        ("Asia/Kathmandu", ["2026-07-01T07:45", "2026-12-24T03:15", False]),
        ("America/New_York", ["2026-06-30T22:00", "2026-12-24T14:00", False]),
    ],
)
def test_times_are_entered_in_the_zone_of_who_enters_them(
    mail_services: MailServices, made: MadeOrganisation, address: str, zone: str, answer: list[object]
) -> None:
    user = furnished_user(mail_services, made)
    mail_services.autoreplies.set(OPERATOR, user.id, {"start": datetime(2026, 7, 1, 2, 0, tzinfo=UTC)})
    who = (user.address, PASSWORD)
    [page] = look(address, who, ["/account/away/"], own=True, views=VIEWS[:1], ask=ENTERED, zone=zone)
    assert page["answer"] == answer


def test_control_a_page_with_faults_is_seen(
    portal_app: Flask, mail_services: MailServices, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (
        '<html><body><img src="/static/eider.svg"><input><p style="color:#ccc">pale</p>'
        '<div style="width:3000px">wide</div><script>1</script></body></html>'
    )
    monkeypatch.setitem(portal_app.view_functions, "overview.front", lambda: page)
    [first, _] = look(address, None, ["/"])
    ids = {one.partition(":")[0] for one in first["axe"]}
    assert {"image-alt", "label", "html-has-lang", "document-title"} <= ids
    assert any("Content Security Policy" in one for one in first["problems"])


def test_a_passkey_signs_up_and_in(portal_app: Flask, mail_services: MailServices) -> None:
    """The relying party is that of the public URL, so the settings say where the portal stands."""
    app = create_app(portal_app.extensions[EXTENSION].settings, mail_services)
    with app.extensions[EXTENSION].database.scope(), served(app) as base:
        parts = app.extensions[EXTENSION]
        app.extensions[EXTENSION] = replace(parts, settings=replace(parts.settings, public_url=base))
        email = f"key-{utc_now().timestamp()}@outside.test"
        sign_up.ask(mail_services, "Passkeys Ltd", "Ada", email, "eu", "en")
        link = f"/sign-up/confirm/{token_of(mail_services, LinkPurpose.SIGN_UP, email)}"
        done = subprocess.run(
            [sys.executable, "-m", "tests.portal.passkey_journey"],
            input=json.dumps({"chromium": chromium(), "base": base, "link": link}),
            capture_output=True, text=True, cwd=ROOT, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        member = session().scalars(select(Member).where(Member.email == email)).one()
        assert member.password_hash is None
    assert json.loads(done.stdout) == {
        "signed up": "Passkeys Ltd",
        "signed out": True,
        "signed in": "Members",
        "passkeys": 1,
        "last one": "This passkey is all by which you sign in. Choose a password first.",
    }


def test_nobody_needs_a_mouse_from_signing_up_to_a_recovery_code(
    portal_app: Flask, mail_services: MailServices
) -> None:
    app = create_app(portal_app.extensions[EXTENSION].settings, mail_services)
    unique = f"{utc_now().timestamp()}".replace(".", "-")
    asked = {
        "email": f"keys-{unique}@outside.test",
        "domain": f"keys-{unique}.test",
        "invited": f"b{unique}@outside.test",
    }
    with app.extensions[EXTENSION].database.scope(), served(app) as base:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.portal.keyboard_journey"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asked | {"chromium": chromium(), "base": base}) + "\n")
        process.stdin.flush()
        process.stdout.readline()
        link = f"/sign-up/confirm/{token_of(mail_services, LinkPurpose.SIGN_UP, asked['email'])}\n"
        said, errors = process.communicate(link, timeout=100)
    assert process.returncode == 0, errors[-2000:]
    assert json.loads(said) == {
        "domain": asked["domain"],
        "invited": True,
        "signed in by a recovery code": [True, False],
    }


def test_a_mail_user_signs_in_by_a_passkey_a_code_and_a_recovery_code(
    portal_app: Flask, mail_services: MailServices, made: MadeOrganisation
) -> None:
    app = create_app(portal_app.extensions[EXTENSION].settings, mail_services)
    with served(app) as base:
        parts = app.extensions[EXTENSION]
        app.extensions[EXTENSION] = replace(parts, settings=replace(parts.settings, public_url=base))
        user = mail_services.users.get(user_of(mail_services, made))
        done = subprocess.run(
            [sys.executable, "-m", "tests.portal.own_journey"],
            input=json.dumps({"chromium": chromium(), "base": base, "address": user.address, "password": PASSWORD}),
            capture_output=True, text=True, cwd=ROOT, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
    assert mail_services.users.get(user.id).enabled_2fa == (Factor.TOTP,)
    assert json.loads(done.stdout) == {
        "buttons before their script": False,
        "before": 0,
        "added": 1,
        "signed out": True,
        "password alone": False,
        "signed in by it": True,
        "removed": 0,
        "recovery codes": 10,
        "signed out again": True,
        "signed in by a code": True,
        "signed in by a recovery code": True,
        "one is used up": True,
        "good once": True,
    }
