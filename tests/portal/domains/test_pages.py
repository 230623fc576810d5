"""Pages about domains, as a browser without JS sees them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from uuid import uuid4

import pytest
from bson import ObjectId
from flask import Flask
from sqlalchemy import event

from mailcore.model.mta_sts import StsMode
from mailcore.model.roles import Role as TokenRole
from mailcore.services.accounts.tokens import owner_of_tenant
from portal import progress
from portal.audit.models import AuditEvent
from portal.database import session
from portal.domains import applying, checking, ledger, queries
from portal.domains.models import DkimWay
from portal.domains.records import State
from portal.mail_plane import EXTENSION, Portal
from portal.permissions import Role
from tests.builders import OPERATOR
from tests.portal.conftest import Browser, MadeOrganisation, SignIn
from tests.portal.domains.conftest import publish
from tests.portal.domains.test_life import RunJobs, add, again, proven, states, wanted_of
from tests.portal.test_progress import Stream
from tests.stubs.nameservers import Nameservers, Zone
from tests.stubs.powerdns import KEY, PowerDns

Enter = Callable[..., Browser]


@pytest.fixture
def enter(sign_in: SignIn) -> Enter:
    """Return `enter(role)`: a browser on the list of domains."""

    def begin(role: Role = Role.OWNER) -> Browser:
        browser = sign_in(role)
        assert browser.get("/domains").status_code == 200
        return browser

    return begin


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


def test_empty_list_says_what_to_do(enter: Enter) -> None:
    page = enter().get("/domains").text
    assert "No domain yet" in page
    assert 'href="/domains/add"' in page


def test_domain_is_added_and_its_records_are_shown(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, enter: Enter, organisation: MadeOrganisation
) -> None:
    browser = enter()
    name = f"pages-{ObjectId()}.test"
    world.zone(name)
    added = browser.post("/domains/add", {"name": f" {name.upper()} "})
    assert added.status_code == 303
    place = added.headers["Location"]
    assert "We are looking at your DNS" in browser.get(place).text
    assert 'data-progress="' in browser.get(place).text
    run_jobs()
    page = browser.get(place).text
    assert "Put these records into your DNS" in page
    assert 'data-progress="' not in page
    claim = queries.find_claim(organisation.organisation, name)
    assert claim is not None
    for value in (f"eider-domain-verification={claim.token}", "10 mx1.eider.test.", f"eider1.{name}.dkim.eider.test."):
        assert f'data-copy="{value}"' in page
    assert "There is no MX record" in page
    assert len(page) < 100_000
    assert name in browser.get("/domains").text


def test_a_host_that_nobody_knows_is_called_so_in_german(world: Nameservers, run_jobs: RunJobs, enter: Enter) -> None:
    browser = enter()
    name = f"pages-{ObjectId()}.test"
    world.zone(name).add(name, "MX", "10 mx.elsewhere.test.")
    place = browser.post("/domains/add", {"name": name}).headers["Location"]
    run_jobs()
    page = text_of(browser.get(place, headers={"Accept-Language": "de"}).text)
    assert "Mail geht noch zu einem anderen Host (mx.elsewhere.test)" in page
    assert "another host (mx.elsewhere.test)" in text_of(browser.get(place).text)


@pytest.mark.parametrize("name", ["", "not a domain", "co.uk", "eider.test", "-x.test"])
def test_what_cannot_be_added_is_explained(enter: Enter, name: str) -> None:
    answer = enter().post("/domains/add", {"name": name})
    assert answer.status_code == 400
    assert 'class="error"' in answer.text


def test_adding_twice_is_explained(enter: Enter, organisation: MadeOrganisation) -> None:
    claim = add(organisation)
    answer = enter().post("/domains/add", {"name": claim.name})
    assert answer.status_code == 400
    assert "already" in answer.text


def test_evidence_is_shown(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, enter: Enter, organisation: MadeOrganisation
) -> None:
    claim, _ = proven(parts, world, run_jobs, organisation)
    page = text_of(enter().get(f"/domains/{claim.id}").text)
    assert "Everything is as it should be" in page
    assert f"ns1.{claim.name}" in page
    assert "good for 300 s" in page
    assert "16 of 16 records are right" in page or "17 of 17 records are right" in page


def test_zone_file_holds_every_record(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, enter: Enter, organisation: MadeOrganisation
) -> None:
    """What is downloaded, put into a zone as it is, makes everything right (RFC 1035 §5.1)."""
    import dns.zone

    claim = add(organisation)
    zone = world.zone(claim.name)
    run_jobs()
    answer = enter().get(f"/domains/{claim.id}/zone.txt")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{claim.name}.zone"'
    read = dns.zone.from_text(answer.text, origin=claim.name, check_origin=False, relativize=False)
    for owner, dataset in read.iterate_rdatasets():
        kind = dns.rdatatype.to_text(dataset.rdtype)
        zone.add(owner.to_text(omit_final_dot=True), kind, *(record.to_text() for record in dataset))
    enter().post(f"/domains/{claim.id}/check")
    run_jobs()
    assert states(claim) == {State.MATCH}


def test_policy_changes_its_id_and_the_old_one_is_outdated(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, enter: Enter, organisation: MadeOrganisation
) -> None:
    claim, _ = proven(parts, world, run_jobs, organisation)
    assert enter().post(f"/domains/{claim.id}/sts", {"mode": "enforce"}).status_code == 303
    run_jobs()
    stored = again(claim)
    assert stored.sts_mode == StsMode.ENFORCE
    assert [each.kind for each in stored.results if each.state != State.MATCH] == ["mta-sts"]
    assert enter().post(f"/domains/{claim.id}/sts", {"mode": "other"}).status_code == 400


def test_key_is_replaced_from_the_page(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, enter: Enter, organisation: MadeOrganisation
) -> None:
    claim, _ = proven(parts, world, run_jobs, organisation)
    browser = enter()
    assert browser.post(f"/domains/{claim.id}/rotate").status_code == 303
    run_jobs()
    page = text_of(browser.get(f"/domains/{claim.id}").text)
    assert "eider2" in page
    assert "retired, stays published" in page
    assert browser.post(f"/domains/{claim.id}/dkim", {"way": "text"}).status_code == 303
    assert again(claim).dkim_way == DkimWay.TEXT


def test_domain_is_removed_from_the_page(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, enter: Enter, organisation: MadeOrganisation
) -> None:
    claim, _ = proven(parts, world, run_jobs, organisation)
    browser = enter()
    assert browser.post(f"/domains/{claim.id}/remove").status_code == 303
    assert browser.get(f"/domains/{claim.id}").status_code == 404
    run_jobs()
    assert queries.find_claim(organisation.organisation, claim.name) is None


def test_who_may_only_look_sees_no_changes(
    parts: Portal, run_jobs: RunJobs, enter: Enter, organisation: MadeOrganisation
) -> None:
    claim = add(organisation)
    page = enter(Role.AUDITOR).get(f"/domains/{claim.id}").text
    assert "/remove" not in page
    assert "/provider" not in page


def test_list_takes_few_queries_however_many_there_are(
    portal_app: Flask, enter: Enter, organisation: MadeOrganisation
) -> None:
    browser = enter()
    counts = []
    for count in (1, 59):
        for _ in range(count):
            add(organisation)
        seen: list[str] = []
        engine = portal_app.extensions[EXTENSION].database.engine

        def listener(*args: object, seen: list[str] = seen) -> None:
            seen.append(str(args[2]))

        event.listen(engine, "before_cursor_execute", listener)
        page = browser.get("/domains").text
        event.remove(engine, "before_cursor_execute", listener)
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 6, counts
    assert "after=" in page
    assert len(page) < 100_000


# -- written at the provider ---------------------------------------------------------------------


def preview(browser: Browser, claim_id: object, keys: list[str], **more: str) -> tuple[int, str]:
    fields = {"provider": "powerdns", "token": KEY, "records": keys, **more}
    answer = browser.post(f"/domains/{claim_id}/provider", fields)
    return answer.status_code, answer.text


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return html.unescape(found[1])


def write_fields(page: str) -> dict[str, str]:
    return {"plan": hidden(page, "plan"), "handed_on": hidden(page, "handed_on")}


def rows_of(page: str) -> list[tuple[str, str, str, str]]:
    """What a preview shows: add or remove, name, type, value."""
    rows = re.findall(r"<tr>(.*?)</tr>", page[page.index("<tbody>") : page.index("</tbody>")], re.DOTALL)
    return [tuple(text_of(cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)) for row in rows]  # type: ignore[misc]


def content(zone: Zone) -> set[tuple[str, str, str]]:
    """Everything in a zone, texts joined."""
    found = set()
    for (name, kind), texts in zone.servers[0].records.items():
        for text in texts:  # type: ignore[union-attr]
            value = "".join(re.findall(r'"([^"]*)"', text)) if kind == "TXT" else text
            found.add((name, kind, value))
    return found


def test_what_is_written_is_what_was_shown(
    parts: Portal,
    world: Nameservers,
    run_jobs: RunJobs,
    enter: Enter,
    organisation: MadeOrganisation,
    started_powerdns: PowerDns,
) -> None:
    """The zone afterwards is the zone before with exactly the changes of the preview, and everything becomes right."""
    claim = add(organisation)
    zone = world.zone(claim.name)
    zone.add(claim.name, "MX", "1 aspmx.l.google.com.", "5 alt1.aspmx.l.google.com.")
    zone.add(claim.name, "TXT", '"v=spf1 include:news.test -all"', '"site-verification=keep"')
    zone.add(claim.name, "A", "192.0.2.5")
    zone.add(f"www.{claim.name}", "CNAME", "shop.elsewhere.test.")
    zone.add(f"autodiscover.{claim.name}", "CNAME", "autodiscover.outlook.com.")
    zone.add(f"autoconfig.{claim.name}", "A", "192.0.2.9")
    run_jobs()
    browser = enter()
    keys = [result.key for result in again(claim).results]
    before = content(zone)
    status, page = preview(browser, claim.id, keys)
    assert status == 200
    shown = rows_of(page)
    assert content(zone) == before, "a preview changes nothing"
    written = browser.post(f"/domains/{claim.id}/provider/write", write_fields(page))
    assert written.headers["Location"] == f"/domains/{claim.id}/provider/writing"
    assert content(zone) == before, "a worker writes"
    ledger.carry_out(parts, claim.id)
    removed = {(name, kind, value) for act, name, kind, value in shown if act == "remove"}
    added = {(name, kind, value) for act, name, kind, value in shown if act == "add"}
    assert content(zone) == (before - removed) | added
    assert (claim.name, "TXT", "site-verification=keep") in content(zone)
    assert (claim.name, "TXT", "v=spf1 include:news.test include:_spf.eider.test -all") in content(zone)
    assert (f"www.{claim.name}", "CNAME", "shop.elsewhere.test.") in content(zone)
    run_jobs()
    assert states(claim) == {State.MATCH}
    assert again(claim).sealed_credentials is None, "kept only if the admin says so"
    [entry] = session().query(AuditEvent).filter_by(what="domain.records_written", target=claim.name)
    assert len(entry.details["changes"]) == len(shown)
    assert KEY not in str(entry.details)
    assert "Nothing to change" in preview(browser, claim.id, keys)[1]


def test_what_changed_since_the_preview_is_not_overwritten(
    parts: Portal,
    world: Nameservers,
    run_jobs: RunJobs,
    enter: Enter,
    organisation: MadeOrganisation,
    started_powerdns: PowerDns,
) -> None:
    claim = add(organisation)
    zone = world.zone(claim.name)
    run_jobs()
    browser = enter()
    _, page = preview(browser, claim.id, [f"mx:{claim.name}"])
    zone.add(claim.name, "MX", "10 somebody.elsewhere.test.")
    before = content(zone)
    answer = browser.post(f"/domains/{claim.id}/provider/write", write_fields(page))
    assert answer.headers["Location"].endswith("/provider")
    assert content(zone) == before
    assert "changed meanwhile" in browser.get(answer.headers["Location"]).text


def test_wrong_token_and_wrong_zone_are_explained(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, enter: Enter, organisation: MadeOrganisation
) -> None:
    claim = add(organisation)
    world.zone(claim.name)
    run_jobs()
    browser = enter()
    status, page = preview(browser, claim.id, [], token="wrong")
    assert (status, "answered 401" in page) == (400, True)
    status, page = preview(browser, claim.id, [], zone="other.test")
    assert (status, "does not lie in this zone" in page) == (400, True)
    status, page = preview(browser, claim.id, [], token="")
    assert (status, "Enter the token" in page) == (400, True)


def test_token_is_kept_sealed_if_the_admin_says_so_and_forgotten(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, enter: Enter, organisation: MadeOrganisation
) -> None:
    claim = add(organisation)
    world.zone(claim.name)
    run_jobs()
    browser = enter()
    _, page = preview(browser, claim.id, [f"mx:{claim.name}"], keep="y")
    browser.post(f"/domains/{claim.id}/provider/write", write_fields(page))
    sealed = again(claim).sealed_credentials
    assert sealed is not None
    assert KEY.encode() not in sealed
    assert preview(browser, claim.id, [f"mx:{claim.name}"], token="")[0] == 200
    browser.post(f"/domains/{claim.id}/provider/forget")
    assert again(claim).sealed_credentials is None


def test_what_was_handed_on_for_one_domain_is_no_good_for_another(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, enter: Enter, organisation: MadeOrganisation
) -> None:
    claim, other = add(organisation), add(organisation)
    world.zone(claim.name)
    run_jobs()
    browser = enter()
    _, page = preview(browser, claim.id, [f"mx:{claim.name}"])
    fields = write_fields(page)
    assert browser.post(f"/domains/{other.id}/provider/write", fields).status_code == 400
    assert browser.post(f"/domains/{uuid4()}/provider/write", fields).status_code == 404


# -- as programs see it --------------------------------------------------------------------------


def test_api_tells_what_is_wanted_what_was_seen_and_what_to_change(
    portal_app: Flask, parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> None:
    claim, zone = proven(parts, world, run_jobs, organisation)
    zone.add(claim.name, "MX", "1 aspmx.l.google.com.")
    owner = owner_of_tenant(organisation.organisation.tenant_id)
    _, token = parts.mail.tokens.create(OPERATOR, owner, TokenRole.ROOT, "x")
    headers = {"X-Access-Token": token.reveal_text()}
    client = portal_app.test_client()
    assert client.post(f"/api/domains/{claim.id}/check", json={}, headers=headers).status_code == 200
    run_jobs()
    found = client.get(f"/api/domains/{claim.id}", headers=headers).json
    assert found is not None
    [record] = [each for each in found["records"] if each["state"] != "match"]
    assert (record["kind"], record["type"], record["name"]) == ("mx", "MX", claim.name)
    assert record["values"] == ["10 mx1.eider.test.", "20 mx2.eider.test."]
    assert record["sentence"] == "Mail still goes to Google (aspmx.l.google.com): replace those MX records by ours."
    [observation] = record["evidence"]
    assert [answer["records"] for answer in observation["answers"]] == [["1 aspmx.l.google.com."]] * 2


def test_page_is_told_of_each_step_and_of_the_end(
    parts: Portal, world: Nameservers, organisation: MadeOrganisation, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at, then in the mail plane, then nothing follows by itself."""
    monkeypatch.setattr(progress, "LOOK_EVERY_S", 0.01)
    claim = add(organisation)
    publish(world.zone(claim.name), wanted_of(parts, claim))
    browser = enter()
    page = browser.get(f"/domains/{claim.id}").text
    stream = Stream(browser, f"/domains/{claim.id}/progress")
    first = stream.next()
    assert first["ended"] is False
    assert f'data-version="{first["version"]}"' in page, "nothing is fetched again that is shown already"
    checking.check(parts, claim.id)
    second = stream.next()
    assert (second["ended"], second["version"] == first["version"]) == (False, False)
    applying.apply(parts, claim.id)
    assert stream.next()["ended"] is True
    assert stream.next() is None
    assert "data-progress" not in browser.get(f"/domains/{claim.id}/records").text


def test_page_waits_for_a_key_that_is_replaced(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation, enter: Enter
) -> None:
    claim, _ = proven(parts, world, run_jobs, organisation)
    browser = enter()
    browser.post(f"/domains/{claim.id}/rotate")
    assert "data-progress" in browser.get(f"/domains/{claim.id}/records").text
    run_jobs()
    done = browser.get(f"/domains/{claim.id}/records").text
    assert "data-progress" not in done
    assert re.search(r"eider2.*?signs", text_of(done), re.DOTALL)
