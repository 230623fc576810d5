"""Looks at pages in Debian's Chromium: axe, width, weight, and pictures on wish; prints what it found as JSON.

A process of its own: playwright's loop and gevent's do not go together. Standard input is one JSON object:
`chromium`, `axe` (path of axe.min.js), `base`, `who` (address and password to sign in with, or null), `pages` (paths),
`views` ([width, scheme] pairs), `pictures` (a folder, or null), `language`, `zone` (of time), `own` (sign in to the own
account), `ask` (an expression whose value each page is asked for), `cookie` (name and value: who has signed in).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.journeys.browser import QUIET

RUN_AXE = """async () => {
  const found = await axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], resultTypes: ["violations"], preload: false,
  });
  return found.violations.map(one => `${one.id}: ${one.nodes.slice(0, 3).map(node => node.html).join(" | ")}`);
}"""
TOO_WIDE = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"


def look(browser: Browser, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Load every page once and look at it at each width, in the scheme that goes with it."""
    axe = Path(asked["axe"]).read_text(encoding="utf-8")
    context = browser.new_context(
        locale=asked.get("language", "en"), timezone_id=asked.get("zone", "UTC"), reduced_motion="reduce"
    )  # no colour is on its way
    page = context.new_page()
    if asked.get("cookie"):
        name, value = asked["cookie"]
        url = asked["base"].replace("http:", "https:")
        context.add_cookies([{"name": name, "value": value, "url": url, "secure": True, "httpOnly": True}])
    elif asked["who"]:
        door, field = ("/account/sign-in", "address") if asked.get("own") else ("/sign-in", "email")
        page.goto(asked["base"] + door)
        page.fill(f"input[name={field}]", asked["who"][0])
        page.fill("input[name=password]", asked["who"][1])
        page.press("input[name=password]", "Enter")
        page.wait_for_url(lambda url: "/sign-in" not in url)
    problems: list[str] = []
    weight: dict[str, int] = {}
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "response", lambda response: weight.__setitem__(response.url, len(response.body())) if response.ok else None
    )
    found = []
    for path in asked["pages"]:
        problems.clear()
        show(page, *asked["views"][0])
        response = page.goto(asked["base"] + path)
        assert response is not None
        page.evaluate(axe)
        for width, scheme in asked["views"]:
            show(page, width, scheme)
            found.append(
                {
                    "path": path,
                    "width": width,
                    "scheme": scheme,
                    "status": response.status,
                    "at": page.url.removeprefix(asked["base"]),
                    "axe": page.evaluate(RUN_AXE),
                    "too_wide": page.evaluate(TOO_WIDE),
                    "problems": [one for one in problems if "status of" not in one],
                    "weight": sum(weight.values()),
                    "answer": page.evaluate(asked["ask"]) if asked.get("ask") else None,
                }
            )
            if asked.get("pictures"):
                name = re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-") or "front"
                page.screenshot(path=f"{asked['pictures']}/{name}-{width}-{scheme}.png", full_page=True)
    context.close()
    return found


def show(page: Page, width: int, scheme: Any) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)


def main() -> None:
    asked = json.load(sys.stdin)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=asked["chromium"], args=QUIET)
        print(json.dumps(look(browser, asked)))
        browser.close()


if __name__ == "__main__":
    main()
