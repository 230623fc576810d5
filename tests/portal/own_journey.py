"""A mail user's second factors in Chromium: a passkey with a virtual authenticator, then codes and a recovery code.

Standard input is one JSON object: `chromium`, `base`, `address`, `password`; prints what was seen.
"""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.parse import urlsplit

import pyotp
from playwright.sync_api import Page, Route, sync_playwright
from playwright.sync_api import TimeoutError as NothingSeen

from tests.journeys.browser import AUTHENTICATOR, QUIET

SECURITY = "/account/security/"


class Journey:
    """One browser, and what is typed into it."""

    def __init__(self, page: Page, asked: dict[str, Any]) -> None:
        self._page, self._base = page, asked["base"]
        self._address, self._password = asked["address"], asked["password"]

    def sign_in(self, path: str) -> None:
        """By the password, until this page is there."""
        self._page.goto(self._base + "/account/sign-in")
        self._page.fill("input[name=address]", self._address)
        self._page.fill("input[name=password]", self._password)
        self._page.press("input[name=password]", "Enter")
        self._page.wait_for_url(lambda url: urlsplit(url).path == path)

    def sign_out(self) -> bool:
        """Whether the own account is closed afterwards."""
        self._page.click(".account summary")
        self._page.click("text=Sign out")
        self._page.wait_for_url(self._base + "/")
        self._page.goto(self._base + SECURITY)
        return urlsplit(self._page.url).path == "/account/sign-in"

    def inside(self) -> bool:
        """Whether one is signed in."""
        self._page.wait_for_url(lambda url: "second-step" not in url)
        self._page.goto(self._base + SECURITY)
        return self._page.url == self._base + SECURITY

    def confirm(self, dialog: str) -> None:
        """Open a dialog and answer it by the password."""
        self._page.click(f"[data-opens={dialog}]")
        self._page.fill(f"#{dialog}-present", self._password)
        self._page.press(f"#{dialog}-present", "Enter")

    def shown_without_script(self) -> bool:
        """Whether buttons are seen while the script that answers them is still on its way."""
        held: list[Route] = []
        self._page.route("**/eider.js*", lambda route: held.append(route))
        self._page.goto(self._base + SECURITY, wait_until="commit")
        try:
            self._page.wait_for_selector("[data-opens]", state="attached", timeout=1000)
            return True
        except NothingSeen:
            return not held
        finally:
            for route in held:
                route.continue_()
            self._page.unroute("**/eider.js*")
            self._page.wait_for_load_state()

    def passkeys(self) -> int:
        return self._page.locator("[data-opens^=remove-]").count()

    def passkey(self) -> dict[str, Any]:
        """Add one, sign in by it, remove it."""
        self.sign_in("/account/")
        self._page.goto(self._base + SECURITY)
        seen: dict[str, Any] = {"buttons before their script": self.shown_without_script(), "before": self.passkeys()}
        form = "form[data-passkey=create] "
        self._page.fill(form + "input[name=name]", "Laptop")
        self._page.fill(form + "input[name=present]", self._password)
        self._page.click(form + "button")
        self._page.wait_for_selector("[data-opens=remove-1]")
        seen["added"] = self.passkeys()
        seen["signed out"] = self.sign_out()
        self.sign_in("/account/second-step")
        self._page.goto(self._base + SECURITY)
        seen["password alone"] = self._page.url == self._base + SECURITY
        self.sign_in("/account/second-step")
        self._page.click("text=Use a passkey")
        seen["signed in by it"] = self.inside()
        self.confirm("remove-1")
        self._page.wait_for_selector("text=opens nothing any more")
        seen["removed"] = self.passkeys()
        return seen

    def codes(self) -> dict[str, Any]:
        """Set codes up, take recovery codes, sign in by each, and find that a recovery code is good once."""
        self.confirm("codes-on")
        self._page.click("details.how summary")
        totp = pyotp.TOTP(self._page.inner_text(".copyable code").replace(" ", ""))
        self._page.fill("input[name=code]", totp.now())
        self._page.click("button:has-text('Turn codes on')")
        self._page.wait_for_selector("[data-opens=recovery]")
        self.confirm("recovery")
        self._page.wait_for_selector(".codes code")
        recovery = self._page.locator(".codes code").all_inner_texts()
        seen: dict[str, Any] = {"recovery codes": len(recovery), "signed out again": self.sign_out()}
        self._second(totp.at(self._now() + 30))  # the one used already is not taken twice
        seen["signed in by a code"] = self.inside()
        self.sign_out()
        self._second(recovery[0])
        seen["signed in by a recovery code"] = self.inside()
        left = f"text={len(recovery) - 1} codes are left"
        seen["one is used up"] = self._page.locator(left).count() == 1
        self.sign_out()
        self._second(recovery[0])
        self._page.wait_for_selector("text=That was not right")
        seen["good once"] = "second-step" in self._page.url
        return seen

    def _second(self, code: str) -> None:
        self.sign_in("/account/second-step")
        self._page.fill("input[name=code]", code)
        self._page.press("input[name=code]", "Enter")

    def _now(self) -> int:
        return int(self._page.evaluate("Math.floor(Date.now() / 1000)"))


def main() -> None:
    asked = json.load(sys.stdin)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=asked["chromium"], args=QUIET)
        page = browser.new_page(locale="en")
        page.set_default_timeout(20_000)
        devtools = page.context.new_cdp_session(page)
        devtools.send("WebAuthn.enable")
        devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
        journey = Journey(page, asked)
        print(json.dumps(journey.passkey() | journey.codes()))
        browser.close()


if __name__ == "__main__":
    main()
