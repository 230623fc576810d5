"""In Chromium from the trial to the export: what a customer sees, and what becomes of mail meanwhile."""

from __future__ import annotations

import os
import tarfile
import threading
from collections.abc import Iterator

import pytest
from werkzeug.serving import make_server

from mailcore.model.tenant import Standing
from portal.billing import services
from portal.billing.money import Money
from portal.billing.stages import Stage
from portal.database import unit_of_work
from portal.permissions import Role
from tests.builders import OPERATOR, PASSWORD
from tests.journeys.chromium import CHROMIUM
from tests.portal.billing.conftest import OWNER, Billed
from tests.portal.billing.remote_page import RemotePage
from tests.portal.conftest import make_organisation
from tests.services.inbound_mail import mail, take


@pytest.fixture
def page() -> Iterator[RemotePage]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    found = RemotePage(CHROMIUM, os.environ.get("EIDER_PICTURES", ""))
    yield found
    found.close()


@pytest.fixture
def address(billed: Billed) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, billed.app, threaded=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    object.__setattr__(billed.parts.settings, "public_url", f"http://localhost:{server.port}")
    yield f"http://localhost:{server.port}"
    server.shutdown()


@pytest.mark.timeout(300)
def test_from_trial_to_export(billed: Billed, page: RemotePage, address: str) -> None:
    made = make_organisation(billed.mail, "Harbour Maps")
    organisation = made.organisation
    with unit_of_work() as current:
        organisation.created_at = billed.now()
        current.add(organisation)
    domain = f"h{organisation.tenant}.test"
    billed.mail.domains.create(OPERATOR, organisation.tenant_id, domain)
    user = billed.mail.users.create(OPERATOR, f"ada@{domain}", None, "Ada", organisation.tenant_id)
    arrived: list[bytes] = []

    def arrive() -> None:
        raw = mail(f"ada@{domain}", body=f"number {len(arrived)}")
        assert take(billed.mail, raw, f"ada@{domain}") == [None]
        arrived.append(raw)

    page.goto(f"{address}/sign-in")
    page.fill("input[name=email]", made.members[Role.OWNER].email)
    page.fill("input[name=password]", PASSWORD)
    page.press("Sign in")
    page.goto(f"{address}/billing")
    assert "Trial" in page.text()
    page.shot("billing-1-trial")

    page.fill("#quantity-team", "3")
    page.press("Choose Team")
    assert page.url().startswith(billed.server.url)
    page.shot("billing-2-checkout")
    page.press("Subscribe")
    assert page.url().startswith(f"{address}/billing/welcome")
    billed.settle()
    page.goto(f"{address}/billing/welcome")
    assert "Your plan is active" in page.text()
    assert billed.entitled(organisation).seats == 3
    billed.advance(days=20)

    page.goto(f"{address}/billing")
    page.fill("input#quantity", "5")
    page.press("Show the next invoice")
    shown = page.inner("#total")
    page.shot("billing-3-preview")
    page.press("Confirm the change")
    billed.settle()
    assert billed.entitled(organisation).seats == 5
    arrive()

    page.goto(f"{address}/billing")
    page.press("Change card")
    page.check("input[value='0341']")
    page.press("Save card")
    billed.settle()
    billed.advance(days=25)
    page.goto(f"{address}/billing/invoices")
    assert shown in page.text(), "the invoice is what the preview showed"
    page.shot("billing-4-invoices")

    seen = []
    for _ in range(40):
        entitled = billed.entitled(organisation)
        if entitled.stage not in seen:
            seen.append(entitled.stage)
            arrive()
            assert billed.mail.mailboxes.open(user, "INBOX").exists == len(arrived)
            page.goto(f"{address}/billing")
            assert page.goto(f"{address}/billing/export") == 200
            page.goto(f"{address}/billing")
            page.shot(f"billing-5-{entitled.stage.value}")
        billed.advance(days=1)
    assert seen == [Stage.GRACE, Stage.SENDING_OFF, Stage.READ_ONLY, Stage.CLOSED]

    page.goto(f"{address}/billing")
    page.press(f"Pay {shown} now")
    page.press("Pay")
    billed.settle()
    page.goto(f"{address}/billing/invoices")
    assert page.text().count("paid") > page.text().count("open"), "the oldest is paid"
    page.goto(f"{address}/billing")
    page.press("Change card")
    page.press("Save card")
    billed.settle()
    assert billed.entitled(organisation).stage is Stage.ACTIVE
    assert billed.mail.tenants.get(organisation.tenant_id).standing is Standing.FULL
    page.goto(f"{address}/billing")
    assert "payment is due" not in page.text()

    page.goto(f"{address}/billing/cancel")
    page.shot("billing-6-cancel")
    page.press("Cancel at the end of the period")
    billed.settle()
    billed.advance(days=32)
    assert billed.entitled(organisation).stage is Stage.CLOSED
    page.goto(f"{address}/billing")
    page.shot("billing-7-cancelled")
    page.goto(f"{address}/billing/export")
    page.shot("billing-8-export")
    with tarfile.open(page.download(f"a[href$='{user}.tar']")) as archive:
        kept = {one.name: archive.extractfile(one).read() for one in archive.getmembers()}  # type: ignore[union-attr]
    inbox = [kept[name] for name in sorted(kept) if name.startswith("INBOX/")]
    assert [whole.endswith(raw) for whole, raw in zip(inbox, arrived, strict=True)] == [True] * len(arrived)
    assert page.problems() == []


@pytest.mark.timeout(300)
def test_from_seats_to_gigabytes_and_back(
    billed: Billed, page: RemotePage, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other plan with what changes; a preview that no longer holds; in German, a plan that is too small."""
    made = make_organisation(billed.mail, "Harbour Maps")
    organisation, owner = made.organisation, made.members[Role.OWNER]
    with unit_of_work() as current:
        organisation.created_at = billed.now()
        current.add(organisation)
    billed.check_out(organisation, "team", 3)
    billed.advance(days=20)
    page.goto(f"{address}/sign-in")
    page.fill("input[name=email]", owner.email)
    page.fill("input[name=password]", PASSWORD)
    page.press("Sign in")
    page.goto(f"{address}/billing")
    page.shot("plans-1-choose")
    page.fill("#quantity-pool", "100")
    page.press("Show what changes to Pool")
    first = page.inner("#total")
    assert "Pool for 100 GB" in page.text()
    page.shot("plans-2-preview")

    code = f"J{organisation.tenant}"
    billed.client.v1.coupons.create({"id": code, "percent_off": 25, "duration": "forever"})
    services.use_coupon(billed.payments, OWNER, organisation, code)
    page.press("Confirm the change")
    assert "no longer holds" in page.text()
    shown = page.inner("#total")
    assert shown != first
    page.shot("plans-3-shown-again")
    page.press("Confirm the change")
    page.goto(f"{address}/billing")
    assert "Being changed to Pool for 100 GB" in page.text()
    billed.settle()
    page.goto(f"{address}/billing")
    assert "100 GB" in page.text()
    page.shot("plans-4-changed")
    assert billed.entitled(organisation).seats is None

    with unit_of_work() as current:
        current.merge(owner).language = "de"
    monkeypatch.setattr(type(billed.mail.pools), "used", lambda *_: 100 << 30)
    page.goto(f"{address}/billing")
    page.shot("plans-5-german")
    page.fill("#quantity-team", "3")
    page.press("Zeigen, was mit Team anders wird")
    assert "Wählen Sie mindestens 4" in page.text()
    page.shot("plans-6-too-small")
    page.fill("#quantity-team", "4")
    page.press("Zeigen, was mit Team anders wird")
    assert "Was sich ändert" in page.text()
    page.shot("plans-7-preview-german")
    billed.advance(days=25)
    page.goto(f"{address}/billing/invoices")
    paid = billed.server.world.of_kind("invoice", customer=billed.customer(organisation))[0]["total"]
    assert Money(paid, "eur").shown("en") == shown, "the invoice is what the preview showed"
    assert page.problems() == []
