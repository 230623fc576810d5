"""Pages that have something to show only where somebody pays, and those of staff: nothing for axe to find."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from werkzeug.serving import make_server

from mailcore.model.secret import Secret
from portal.billing import changes, enforcement, services
from portal.billing.adjustments import Limit
from portal.database import unit_of_work, utc_now
from portal.permissions import Role
from portal.staff import grants, limits
from tests.builders import OPERATOR, PASSWORD
from tests.portal.billing.conftest import OWNER, Billed
from tests.portal.conftest import SOMEBODY, MadeOrganisation, browser_of, cookie_of, make_organisation
from tests.portal.staff.test_grants import make_staff
from tests.portal.test_pages import faults, look


@pytest.fixture
def address(billed: Billed) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, billed.app, threaded=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://localhost:{server.port}"
    server.shutdown()


@pytest.fixture
def made(billed: Billed) -> MadeOrganisation:
    """A customer with a plan, a bill that was not paid, and a user."""
    found = make_organisation(billed.mail, "Harbour Maps")
    with unit_of_work() as current:
        found.organisation.created_at = billed.now()
        current.add(found.organisation)
    tenant_id = found.organisation.tenant_id
    billed.mail.domains.create(OPERATOR, tenant_id, f"p{found.organisation.tenant}.test")
    address = f"ada@p{found.organisation.tenant}.test"
    billed.mail.users.create(OPERATOR, address, Secret(PASSWORD), "Ada", tenant_id)
    enforcement.enforce(billed.mail, found.organisation.id, billed.now())
    billed.check_out(found.organisation, "team", 3)
    billed.advance(days=20)
    return found


@pytest.mark.timeout(300)
def test_no_page_of_billing_has_anything_to_find(billed: Billed, made: MadeOrganisation, address: str) -> None:
    organisation = made.organisation
    services.add_tax_id(billed.payments, OWNER, organisation, "eu_vat", "DE123456789")
    change = changes.preview(billed.payments, OWNER, organisation, 5)
    other = changes.preview(billed.payments, OWNER, organisation, 60, "pool")
    below = ("", "/invoices", "/cancel", "/export", "/welcome", f"/changes/{change.id}", f"/changes/{other.id}")
    pages = [f"/billing{page}" for page in below]
    who = (made.members[Role.OWNER].email, PASSWORD)
    assert faults(look(address, who, pages)) == []
    assert faults(look(address, who, [f"/billing/changes/{other.id}"], language="de")) == []
    billed.change_card(organisation, "0341")
    billed.advance(days=40)
    assert faults(look(address, who, ["/billing", "/billing/invoices"], language="de")) == []


@pytest.mark.timeout(300)
def test_no_page_of_staff_has_anything_to_find(billed: Billed, made: MadeOrganisation, address: str) -> None:
    staff = browser_of(billed.app, make_staff(billed.mail))
    grants.give(SOMEBODY, made.organisation, "mail is late", 1, may_write=True)
    below = f"/staff/organisations/{made.organisation.id}"
    wanted = limits.Wanted(Limit.USERS, 25, "a school term", utc_now() + timedelta(days=9))
    limits.set_limit(SOMEBODY, billed.mail, made.organisation, wanted)
    names = ("users", "queue", "trace", "features", "limits")
    pages = ["/staff?q=harbour", "/staff/jobs", "/staff/features", below, *(f"{below}/{name}" for name in names)]
    found = look(address, None, pages, cookie=cookie_of(staff))
    assert {one["status"] for one in found} == {200}
    assert faults(found) == []


def test_coming_back_from_checkout_writes_nothing_until_somebody_asks(billed: Billed) -> None:
    """The provider's events were lost: looking changes nothing, asking fetches what was paid for."""
    made = make_organisation(billed.mail)
    organisation = made.organisation
    url = services.begin_checkout(billed.payments, OWNER, organisation, "team", 3)
    assert billed.server.webhooks is not None
    billed.server.webhooks.hold()
    with billed.server.lock:
        billed.server.page("POST", url.removeprefix(billed.server.url), "card=4242")
    billed.server.webhooks.release([])
    owner = browser_of(billed.app, made.members[Role.OWNER])
    assert "Your plan is not here yet" in owner.get("/billing/welcome").text
    assert billed.mirrored(organisation) == ([], [])
    assert owner.post("/billing/welcome").status_code == 303
    assert len(billed.mirrored(organisation)[0]) == 1
    assert "Your plan is active" in owner.get("/billing/welcome").text
    assert billed.mail.tenants.get(organisation.tenant_id).limits.users == 3
