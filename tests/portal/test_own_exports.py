"""All mail as one file: asked for with the password, made by a worker, fetched by its owner alone."""

from __future__ import annotations

import io
import tarfile
from datetime import timedelta

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import update

from mailcore.model.ids import UserId
from mailcore.services import MailServices
from portal.accounts.models import PortalSession
from portal.database import unit_of_work, utc_now
from portal.mail_plane import EXTENSION
from portal.own import exports
from tests.builders import OPERATOR, PASSWORD, MadeUser
from tests.portal.conftest import Browser, MadeOrganisation
from tests.portal.people import browser_of_user, text_of, user_of
from tests.portal.test_own import messages_of
from tests.store.test_delivery import deliver, message
from workers.main import make_worker

FILE = "/account/export/mail.tar"


@pytest.fixture
def user_id(mail_services: MailServices, organisation: MadeOrganisation) -> UserId:
    """Somebody with three messages."""
    made = user_of(mail_services, organisation, "Ada Lovelace")
    user = mail_services.users.get(made)
    for number in range(3):
        deliver(mail_services, message(b"precious", str(number)), MadeUser(made, user.tenant_id, user.address))
    return made


@pytest.fixture
def browser(portal_app: Flask, mail_services: MailServices, user_id: UserId) -> Browser:
    return browser_of_user(portal_app, mail_services, user_id)


def work(app: Flask, mail: MailServices, redis_url: str) -> None:
    """A worker does what is on the queue."""
    with Redis.from_url(redis_url) as redis:
        make_worker(mail, redis, app.extensions[EXTENSION]).work(burst=True, logging_level="ERROR")


@pytest.fixture
def ready(browser: Browser, portal_app: Flask, mail_services: MailServices, redis_url: str) -> Browser:
    """A browser whose user has a file."""
    browser.get("/account/export/")
    browser.post("/account/export/ask", {"present": PASSWORD})
    work(portal_app, mail_services, redis_url)
    return browser


def test_a_file_is_asked_for_made_by_a_worker_and_fetched(
    browser: Browser, portal_app: Flask, mail_services: MailServices, user_id: UserId, redis_url: str
) -> None:
    assert "Make the file" in text_of(browser.get("/account/export/"))
    assert browser.get(FILE).status_code == 404
    browser.post("/account/export/ask", {"present": "not it at all"})
    assert "The password is wrong." in text_of(browser.get("/account/export/"))
    browser.post("/account/export/ask", {"present": PASSWORD})
    page = text_of(browser.get("/account/export/"))
    assert 'hx-trigger="every 2s"' in page
    assert browser.get(FILE).status_code == 404
    work(portal_app, mail_services, redis_url)
    part = text_of(browser.get("/account/export/progress"))
    assert "Your file is ready" in part
    assert "hx-trigger" not in part
    answer = browser.get(FILE)
    assert (answer.status_code, answer.mimetype) == (200, "application/x-tar")
    with tarfile.open(fileobj=io.BytesIO(answer.get_data())) as archive:
        names = archive.getnames()
        inbox = [archive.extractfile(f"INBOX/{uid}.eml") for uid in (1, 2, 3)]
    assert names == ["account.json", "INBOX/1.eml", "INBOX/2.eml", "INBOX/3.eml"]
    assert [file.read() for file in inbox if file is not None] == messages_of(mail_services, user_id)


def test_a_download_that_broke_off_goes_on(ready: Browser) -> None:
    """RFC 9110 §14.2, §13.1.5."""
    first = ready.get(FILE)
    whole, etag = first.get_data(), first.headers["ETag"]
    assert int(first.headers["Content-Length"]) == len(whole)
    rest = ready.get(FILE, headers={"Range": "bytes=1000-", "If-Range": etag})
    assert (rest.status_code, rest.get_data()) == (206, whole[1000:])
    assert rest.headers["Content-Range"] == f"bytes 1000-{len(whole) - 1}/{len(whole)}"
    assert ready.get(FILE, headers={"Range": "bytes=0-99"}).get_data() == whole[:100]
    other = ready.get(FILE, headers={"Range": "bytes=1000-", "If-Range": '"of another file"'})
    assert (other.status_code, other.get_data()) == (200, whole)
    assert ready.get(FILE, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416
    lines = ready.get(FILE, headers={"Range": "lines=0-9"})
    assert (lines.status_code, lines.get_data()) == (200, whole), "of a unit that is not ours (RFC 9110 §14.2)"


def test_who_asks_too_often_is_told_so(browser: Browser, mail_services: MailServices, user_id: UserId) -> None:
    for _ in range(mail_services.settings.limits.exports_per_day):
        mail_services.mail_exports.ask(OPERATOR, user_id)
        mail_services.mail_exports.delete(OPERATOR, user_id)
    browser.get("/account/export/")
    assert browser.post("/account/export/ask", {"present": PASSWORD}).status_code == 303
    assert "as many files as may be made" in browser.get("/account/export/").get_data(as_text=True)
    assert mail_services.mail_exports.find(user_id) is None


def who_gets_it(
    app: Flask, mail: MailServices, organisation: MadeOrganisation, owner: Browser
) -> dict[str, tuple[int, int]]:
    """Who asks for the file -> status, and how large what they get is."""
    asking = {
        "nobody": Browser(app.test_client()),
        "somebody else": browser_of_user(app, mail, user_of(mail, organisation)),
        "owner": owner,
    }
    answers = {name: browser.get(FILE) for name, browser in asking.items()}
    return {name: (answer.status_code, len(answer.get_data())) for name, answer in answers.items()}


def test_only_the_owner_gets_it(
    ready: Browser, portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    """Attack W1: the address of the file is the same for all; whose file it is, the session says."""
    found = who_gets_it(portal_app, mail_services, organisation, ready)
    assert [found[name][0] for name in ("nobody", "somebody else", "owner")] == [303, 404, 200]


def test_control_a_fetch_by_the_latest_file_is_seen(
    ready: Browser,
    portal_app: Flask,
    mail_services: MailServices,
    organisation: MadeOrganisation,
    user_id: UserId,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    export = mail_services.mail_exports.get(user_id)
    monkeypatch.setattr(type(mail_services.mail_exports), "get", lambda *_: export)
    real = type(mail_services.mail_exports).fetch
    monkeypatch.setattr(
        type(mail_services.mail_exports), "fetch", lambda self, actor, _, *range_: real(self, actor, user_id, *range_)
    )
    found = who_gets_it(portal_app, mail_services, organisation, ready)
    assert found["somebody else"][0] == 200


def test_a_browser_left_open_asks_for_the_password(ready: Browser, user_id: UserId) -> None:
    with unit_of_work() as current:
        current.execute(
            update(PortalSession)
            .where(PortalSession.mail_user == str(user_id))
            .values(confirmed_at=utc_now() - exports.CONFIRMED_FOR - timedelta(seconds=1))
        )
    assert ready.get(FILE).headers["Location"] == "/account/export/"
    assert 'id="open"' in text_of(ready.get("/account/export/"))
    assert ready.post("/account/export/open", {"present": "not it at all"}).headers["Location"] == "/account/export/"
    assert ready.get(FILE).status_code == 303
    ready.get("/account/export/")
    assert ready.post("/account/export/open", {"present": PASSWORD}).headers["Location"] == FILE
    assert ready.get(FILE).status_code == 200


def test_it_is_told_in_the_trail_and_gone_when_its_owner_says(
    ready: Browser, mail_services: MailServices, user_id: UserId
) -> None:
    ready.get(FILE)
    ready.get("/account/export/")
    ready.post("/account/export/delete")
    assert "The file is deleted." in text_of(ready.get("/account/export/"))
    assert ready.get(FILE).status_code == 404
    shard = mail_services.placement.home(user_id).shard
    kinds = [one["kind"] for one in shard.hot["events"].find({"user": user_id, "kind": {"$regex": "^export"}})]
    assert sorted(kinds) == ["export.asked", "export.deleted", "export.fetched", "export.made"]
