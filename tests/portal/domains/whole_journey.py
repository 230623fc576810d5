"""From signing up to a mail that is read, in Debian's Chromium: a process of its own (see tests/portal/look.py).

Standard input: one JSON object with `chromium`, `base`, `email`, `domain`, `token`, `file`, `person`, `pictures`; then
a line whenever the test has done its part. Standard output: one JSON line at the end of each part.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.journeys.browser import AUTHENTICATOR, QUIET
from tests.portal.domains.journey import PATIENCE_MS, WIDTHS, say


class Album:
    """Pictures of the journey, numbered, at both widths; every page's faults are looked for elsewhere."""

    def __init__(self, page: Page, folder: str) -> None:
        self._page, self._folder, self._number = page, Path(folder), 0

    def take(self, name: str) -> None:
        self._number += 1
        for width in reversed(WIDTHS):
            self._page.set_viewport_size({"width": width, "height": 900})
            self._page.screenshot(path=str(self._folder / f"{self._number:02}-{name}-{width}.png"), full_page=True)


def sign_up(page: Page, asked: dict[str, Any], album: Album) -> None:
    """Ask for a link by mail, follow it, make a passkey, and wait until the organisation is ready."""
    page.goto(asked["base"] + "/sign-up")
    page.fill("input[name=organisation]", "Fjord Charts")
    page.fill("input[name=name]", "Kaja Holm")
    page.fill("input[name=email]", asked["email"])
    album.take("sign-up")
    page.press("input[name=email]", "Enter")
    page.wait_for_selector("text=" + asked["email"])
    album.take("look-at-your-mail")
    say(asked=True)
    page.goto(sys.stdin.readline().strip())
    album.take("confirm")
    page.click("text=Create a passkey")
    page.wait_for_url("**/overview")
    page.wait_for_selector(".badge.good:has-text('ready')")  # by itself
    album.take("overview")


def bring_domain(page: Page, asked: dict[str, Any], album: Album) -> None:
    """Add the domain, see what its provider would be told, have it written, and replace the key once all is green."""
    page.goto(asked["base"] + "/domains/add")
    page.fill("input[name=name]", asked["domain"])
    page.click("button:has-text('Add domain')")
    page.wait_for_selector("text=Put these records into your DNS")
    album.take("records")
    page.click("text=Write them at my provider")
    page.fill("input[name=token]", asked["token"])
    page.click("button:has-text('Show what would change')")
    page.wait_for_selector("button:has-text('Write these changes')")
    album.take("preview")
    page.click("button:has-text('Write these changes')")
    page.wait_for_selector("text=Everything is as it should be")
    page.wait_for_selector("tr:has-text('eider1') >> text=signs")
    album.take("green")
    states = page.eval_on_selector_all("details.record .badge", "all => all.map(one => one.textContent)")
    page.click("button:has-text('Replace the key now')")
    page.wait_for_selector("tr:has-text('eider2') >> text=signs")
    album.take("rotated")
    say(states=states)


def bring_people(page: Page, asked: dict[str, Any], album: Album) -> None:
    """Users by a list."""
    page.goto(asked["base"] + "/people/imports/")
    page.set_input_files("input[type=file]", asked["file"])
    page.click("button:has-text('Check the list')")
    page.wait_for_selector("text=What would happen")
    album.take("people-preview")
    page.click("button:has-text('Make 2 users')")
    page.wait_for_selector("text=Users made")
    album.take("people-made")


def app_password(page: Page, asked: dict[str, Any], album: Album) -> str:
    """Sign in to the own account with the first password, choose another, and make an app password."""
    address, first, own = asked["person"]
    page.goto(asked["base"] + "/account/sign-in")
    page.fill("input[name=address]", address)
    page.fill("input[name=password]", first)
    page.press("input[name=password]", "Enter")
    page.wait_for_selector("text=Choose your own password")
    page.fill("input[name=present]", first)
    page.fill("input[name=password]", own)
    page.fill("input[name=again]", own)
    page.press("input[name=again]", "Enter")
    page.wait_for_selector("text=What to do next")
    page.click("text=Make an app password")
    page.fill("input[name=description]", "Laptop")
    page.fill("form:has(input[name=description]) input[name=present]", own)
    page.click("button:has-text('Make it')")
    page.wait_for_selector("text=Enter this in the program now")
    album.take("app-password")
    return page.inner_text(".copyable code")


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=asked["chromium"], args=QUIET)
        page = browser.new_page(locale="en")
        page.set_default_timeout(PATIENCE_MS)
        devtools = page.context.new_cdp_session(page)
        devtools.send("WebAuthn.enable")
        devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
        album = Album(page, asked["pictures"])
        sign_up(page, asked, album)
        bring_domain(page, asked, album)
        bring_people(page, asked, album)
        own = browser.new_context(locale="en").new_page()
        own.set_default_timeout(PATIENCE_MS)
        say(letters=app_password(own, asked, Album(own, asked["pictures"])))
        sys.stdin.readline()
        page.goto(asked["base"] + "/audit")
        album.take("audit")
        say(audit=page.inner_text("main"))
        browser.close()


if __name__ == "__main__":
    main()
