"""Signs up by a passkey, signs out, signs in by it and adds a second one, in Chromium with a virtual authenticator.

Standard input is one JSON object: `chromium`, `base`, `link` (path of the mailed link); prints what was seen.
"""

from __future__ import annotations

import json
import sys

from playwright.sync_api import sync_playwright

from tests.journeys.browser import AUTHENTICATOR, QUIET


def main() -> None:
    asked = json.load(sys.stdin)
    seen = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=asked["chromium"], args=QUIET)
        page = browser.new_page()
        devtools = page.context.new_cdp_session(page)
        devtools.send("WebAuthn.enable")
        devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
        page.goto(asked["base"] + asked["link"])
        page.click("text=Create a passkey")
        page.wait_for_url("**/overview")
        seen["signed up"] = page.inner_text("h1")
        page.click(".account summary")
        page.click("text=Sign out")
        page.wait_for_url(asked["base"] + "/")
        page.goto(asked["base"] + "/members")
        seen["signed out"] = "/sign-in" in page.url
        page.click("text=Sign in with a passkey")
        page.wait_for_url(lambda url: "/sign-in" not in url)
        seen["signed in"] = page.inner_text("h1")
        page.goto(asked["base"] + "/profile/security")
        seen["passkeys"] = page.locator(".rows li").count()
        page.click("text=Remove")
        page.wait_for_selector(".notice.error")
        seen["last one"] = page.inner_text(".notice.error")
        browser.close()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
