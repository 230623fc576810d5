"""A domain from its first letter to a new DKIM key, in Debian's Chromium: a process of its own (see tests/portal/look).

Standard input: one JSON object with `chromium`, `base`, `who`, `domain`, `pictures`; then a line whenever the test has
done its part. Standard output: one JSON line at the end of each part.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.journeys.browser import QUIET
from tests.portal.look import RUN_AXE, TOO_WIDE
from tests.system.clients.packages import FOLDER

AXE = FOLDER / "node_modules/axe-core/axe.min.js"
PATIENCE_MS = 60_000
WIDTHS = (1440, 390)


FAULTS: list[str] = []


def picture(page: Page, folder: str, name: str) -> None:
    """What axe, if it is there, and the width say at each width; and pictures on wish."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        if AXE.is_file():
            page.evaluate(AXE.read_text(encoding="utf-8"))
            FAULTS.extend(f"{name} at {width}: {one}" for one in page.evaluate(RUN_AXE))
        if page.evaluate(TOO_WIDE):
            FAULTS.append(f"{name} at {width}: too wide")
        if folder:
            page.screenshot(path=str(Path(folder) / f"{name}-{width}.png"), full_page=True)
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})


def copied(page: Page) -> list[dict[str, Any]]:
    """What the copy buttons of each record would copy, and its type."""
    found: list[dict[str, Any]] = page.eval_on_selector_all(
        "details.record",
        """records => records.map(record => ({
            type: record.querySelector("dd > code").textContent,
            copied: [...record.querySelectorAll(".record-values [data-copy]")].map(one => one.dataset.copy),
        }))""",
    )
    return found


def say(**told: Any) -> None:
    print(json.dumps(told), flush=True)


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    base, folder = asked["base"], asked["pictures"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=asked["chromium"], args=QUIET)
        page = browser.new_page(viewport={"width": WIDTHS[0], "height": 900}, locale="en")
        page.set_default_timeout(PATIENCE_MS)
        page.goto(base + "/sign-in")
        page.fill("input[name=email]", asked["who"][0])
        page.fill("input[name=password]", asked["who"][1])
        page.press("input[name=password]", "Enter")
        page.wait_for_url(lambda url: "/sign-in" not in url)
        page.goto(base + "/domains")
        picture(page, folder, "1-no-domain")
        page.click("main .page-head >> text=Add a domain")
        page.fill("input[name=name]", asked["domain"])
        picture(page, folder, "2-add")
        page.click("button:has-text('Add domain')")
        page.wait_for_selector("text=Put these records into your DNS")  # by itself: nothing is clicked meanwhile
        picture(page, folder, "3-records")
        for evidence in page.locator("details.evidence > summary").all()[:2]:
            evidence.click()
        picture(page, folder, "3-records-evidence")
        records = copied(page)
        shown_at = page.url
        page.click("text=Write them at my provider")
        page.fill("input[name=token]", asked["token"])
        page.click("button:has-text('Show what would change')")
        page.wait_for_selector("button:has-text('Write these changes')")
        picture(page, folder, "3-records-preview")
        page.goto(shown_at)
        with page.expect_download() as fetched:
            page.click("text=Zone file")
        say(records=records, zone=Path(fetched.value.path()).read_text(), name=fetched.value.suggested_filename)
        sys.stdin.readline()
        page.click("button:has-text('Look again')")
        page.wait_for_selector("text=Everything is as it should be")
        page.wait_for_selector("details.record.good")
        picture(page, folder, "4-green")
        say(states=page.eval_on_selector_all("details.record .badge", "all => all.map(one => one.textContent)"))
        sys.stdin.readline()
        page.reload()
        page.click("button:has-text('Replace the key now')")
        page.wait_for_selector("text=A new key is being made")
        page.wait_for_selector("tr:has-text('eider2') >> text=signs")  # by itself, again
        picture(page, folder, "5-rotated")
        say(keys=page.eval_on_selector_all("tbody tr", "all => all.map(one => one.innerText)"), faults=FAULTS)
        browser.close()


if __name__ == "__main__":
    main()
