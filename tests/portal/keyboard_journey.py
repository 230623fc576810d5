"""Without a mouse: signs up, adds a domain, invites a member, and signs in by a recovery code, in Chromium.

Standard input: one JSON object with `chromium`, `base`, `email`, `domain`, `invited`; then a line with the path of the
mailed link. Standard output: a line once that link is waited for, and one JSON line at the end.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pyotp
from playwright.sync_api import Page, sync_playwright

from tests.journeys.browser import QUIET

MOST_STOPS = 80
PASSWORD = "words that nobody else has"


class Keyboard:
    """One page, and what is pressed on it."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def reach(self, selector: str) -> None:
        """Press Tab until this has the focus, which can be seen there."""
        for _ in range(MOST_STOPS):
            if self._page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
                assert self._page.evaluate("document.activeElement.matches(':focus-visible')"), selector
                return
            self._page.keyboard.press("Tab")
        raise AssertionError(f"no key leads to {selector} on {self._page.url}")

    def fill(self, name: str, text: str) -> None:
        """Go to a field and type into it."""
        self.reach(f"form:not([data-passkey]) [name={name}]")
        self._page.keyboard.type(text)

    def press(self, selector: str, then: str) -> None:
        """Go to a link or button and press Enter; a page with this on it follows."""
        self.reach(selector)
        self.enter(then)

    def enter(self, then: str) -> None:
        self._page.keyboard.press("Enter")
        self._page.wait_for_selector(then)


def join(page: Page, keys: Keyboard, asked: dict[str, Any]) -> None:
    """From the form to the overview, by the link that somebody else reads in the mail."""
    page.goto(asked["base"] + "/sign-up")
    keys.fill("organisation", "Keys Ltd")
    keys.fill("name", "Ada Lund")
    keys.fill("email", asked["email"])
    keys.enter("h1:not(:text('Create an organisation'))")
    print(json.dumps("asked"), flush=True)
    page.goto(asked["base"] + sys.stdin.readline().strip())
    keys.fill("password", PASSWORD)
    keys.enter("nav.side")


def set_codes_up(page: Page, keys: Keyboard) -> list[str]:
    """Turn codes on, and return the recovery codes."""
    keys.press(".account summary", ".account[open]")
    keys.press(".account a[href$='/profile/security']", "form[action*='totp']")
    keys.press("form[action*='totp'] button", ".copyable code")
    totp = pyotp.TOTP(page.inner_text(".copyable code").replace(" ", ""))
    keys.fill("code", totp.now())
    keys.enter(".codes li")
    return page.locator(".codes li").all_inner_texts()


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=asked["chromium"], args=QUIET)
        page = browser.new_page(locale="en")
        page.set_default_timeout(20_000)
        keys, seen = Keyboard(page), {}
        join(page, keys, asked)
        keys.press("nav.side a[href='/domains'], nav.side a[href='/domains/']", "main a[href$='/domains/add']")
        keys.press("main a[href$='/domains/add']", "input[name=name]")
        keys.fill("name", asked["domain"])
        keys.enter(f"h1:has-text('{asked['domain']}')")
        seen["domain"] = page.inner_text("h1")
        keys.press("nav.side a[href='/members'], nav.side a[href='/members/']", "main a[href$='/members/invite']")
        keys.press("main a[href$='/members/invite']", "input[name=email]")
        keys.fill("email", asked["invited"])
        keys.reach("select[name=role]")
        page.keyboard.type("Auditor")
        keys.press("main form button", f"text={asked['invited']}")
        seen["invited"] = page.locator("main").inner_text().count(asked["invited"]) > 0
        codes = set_codes_up(page, keys)
        page.goto(asked["base"] + "/overview")
        keys.press(".account summary", ".account[open]")
        keys.press(".account form button", "a[href*='sign-in']")
        for code in codes[:1] * 2:
            page.goto(asked["base"] + "/sign-in")
            keys.fill("email", asked["email"])
            keys.fill("password", PASSWORD)
            keys.enter("input[name=code]")
            keys.fill("code", code)
            keys.enter("nav.side, .error")
            seen.setdefault("signed in by a recovery code", []).append("second-step" not in page.url)
            page.context.clear_cookies()
        print(json.dumps(seen))
        browser.close()


if __name__ == "__main__":
    main()
