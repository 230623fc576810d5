"""Runs one page's `journey()` in Debian's Chromium with a virtual authenticator; prints what it returns as JSON.

A process of its own: playwright's loop and gevent's do not go together.
"""

from __future__ import annotations

import json
import sys

from playwright.sync_api import sync_playwright

QUIET = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--disable-gpu",
]  # fmt: skip
AUTHENTICATOR = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
    "isUserVerified": True, "automaticPresenceSimulation": True,
}  # fmt: skip


def main(chromium: str, url: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_page()
        devtools = page.context.new_cdp_session(page)
        devtools.send("WebAuthn.enable")
        devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
        page.goto(url)
        print(json.dumps(page.evaluate("journey()")))
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
