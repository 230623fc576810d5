"""People by a list, and one of them in the own account, in Debian's Chromium: a process of its own (see look.py).

Standard input: one JSON object with `chromium`, `base`, `who`, `file` (a list of people), `person` (address, first and
next password), `pictures`. Standard output: one JSON line at the end: the app password made, and what axe found.
"""

from __future__ import annotations

import json
import sys

from playwright.sync_api import Page, sync_playwright

from tests.journeys.browser import QUIET
from tests.portal.domains.journey import FAULTS, PATIENCE_MS, WIDTHS, picture, say


def bring_list(page: Page, base: str, file: str, folder: str) -> None:
    """Upload a list, look at the preview, and wait until everybody is made: nothing is clicked meanwhile."""
    page.goto(base + "/people/")
    picture(page, folder, "people-1-nobody")
    page.click("main >> text=Import a list")
    picture(page, folder, "people-2-import")
    page.set_input_files("input[type=file]", file)
    page.click("button:has-text('Check the list')")
    page.wait_for_selector("text=What would happen")
    picture(page, folder, "people-3-preview")
    page.click("button:has-text('Make 2 users')")
    page.wait_for_selector("text=Users made")
    picture(page, folder, "people-4-made")
    page.goto(base + "/people/")
    picture(page, folder, "people-5-list")


def own_account(page: Page, base: str, person: list[str], folder: str) -> str:
    """Sign in with the first password, choose another, make an app password, and return it."""
    address, first, own = person
    page.goto(base + "/account/sign-in")
    picture(page, folder, "own-1-sign-in")
    page.fill("input[name=address]", address)
    page.fill("input[name=password]", first)
    page.press("input[name=password]", "Enter")
    page.wait_for_selector("text=Choose your own password")
    picture(page, folder, "own-2-password")
    page.fill("input[name=present]", first)
    page.fill("input[name=password]", own)
    page.fill("input[name=again]", own)
    page.press("input[name=again]", "Enter")
    page.wait_for_selector("text=What to do next")
    picture(page, folder, "own-3-home")
    page.click("text=Make an app password")
    page.fill("input[name=description]", "Laptop")
    page.fill("form:has(input[name=description]) input[name=present]", own)
    page.click("button:has-text('Make it')")
    page.wait_for_selector("text=Enter this in the program now")
    picture(page, folder, "own-4-app-password")
    return page.inner_text(".copyable code")


def rules_by_keyboard(page: Page, base: str, folder: str) -> list[str]:
    """Make two rules, move the second up without a mouse, and return their order."""
    for name in ("First", "Second"):
        page.goto(base + "/account/filters/new")
        page.fill("input[name=name]", name)
        page.fill("input[name=subject]", name)
        page.check("input[name=flagged]")
        page.press("input[name=name]", "Enter")
        page.wait_for_selector(f"text={name}")
    page.focus("button[aria-label='Move up: Second']")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Moved.")
    picture(page, folder, "own-5-filters")
    return page.locator(".rule-words h2").all_inner_texts()


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    base, folder = asked["base"], asked["pictures"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=asked["chromium"], args=QUIET)
        admin = browser.new_page(viewport={"width": WIDTHS[0], "height": 900}, locale="en")
        admin.set_default_timeout(PATIENCE_MS)
        admin.goto(base + "/sign-in")
        admin.fill("input[name=email]", asked["who"][0])
        admin.fill("input[name=password]", asked["who"][1])
        admin.press("input[name=password]", "Enter")
        admin.wait_for_url(lambda url: "/sign-in" not in url)
        bring_list(admin, base, asked["file"], folder)
        own = browser.new_context(viewport={"width": WIDTHS[0], "height": 900}, locale="en").new_page()
        own.set_default_timeout(PATIENCE_MS)
        letters = own_account(own, base, asked["person"], folder)
        rules = rules_by_keyboard(own, base, folder)
        say(letters=letters, rules=rules, faults=FAULTS)
        browser.close()


if __name__ == "__main__":
    main()
