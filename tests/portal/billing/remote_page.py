"""Chromium in a process of its own, told line by line what to do: playwright's loop and gevent's do not go together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


class RemotePage:
    """A page of a browser; each method is one line there and one line back."""

    def __init__(self, chromium: str, pictures: str) -> None:
        """Begin with an empty page; `shot` takes pictures if there is a folder for them."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.portal.billing.remote_page", chromium, pictures],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def __getattr__(self, name: str) -> Any:
        def do(*arguments: Any) -> Any:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            assert answer, f"the browser died at {name} {arguments}"
            found = json.loads(answer)
            assert "fault" not in found, found["fault"]
            return found["value"]

        return do

    def close(self) -> None:
        """End the browser."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


def main(chromium: str, pictures: str) -> None:
    from playwright.sync_api import sync_playwright

    from tests.journeys.browser import QUIET

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        problems: list[str] = []
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))

        def shot(name: str) -> None:
            for width in (1440, 390) if pictures else ():
                page.set_viewport_size({"width": width, "height": 900})
                page.screenshot(path=f"{pictures}/{name}-{width}.png", full_page=True)
            page.set_viewport_size({"width": 1440, "height": 900})

        def download(selector: str) -> str:
            with page.expect_download() as began:
                page.click(selector)
            return str(began.value.path())

        def press(text: str) -> str:
            named = [page.get_by_role(role, name=text, exact=True) for role in ("button", "link")]
            named[0].or_(named[1]).click()
            return page.url

        actions = {
            "goto": lambda url: page.goto(url).status,  # type: ignore[union-attr]
            "fill": page.fill,
            "check": page.check,
            "press": press,
            "text": lambda: page.inner_text("body"),
            "inner": page.inner_text,
            "url": lambda: page.url,
            "problems": lambda: problems,
            "shot": shot,
            "download": download,
        }
        for line in sys.stdin:
            name, *arguments = json.loads(line)
            try:
                print(json.dumps({"value": actions[name](*arguments)}), flush=True)  # type: ignore[operator]
            except Exception as fault:
                print(json.dumps({"fault": f"{name} {arguments}: {fault} at {page.url}"}), flush=True)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
