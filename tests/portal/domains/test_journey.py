"""A domain in Chromium: added, its records put into a local DNS as the page says, all green, its DKIM key replaced."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from flask import Flask
from werkzeug.serving import make_server

from mailcore.model.dkim import DkimKeyState
from portal.domains.zone_file import rdata
from portal.mail_plane import Portal
from portal.permissions import Role
from tests.builders import PASSWORD
from tests.journeys.chromium import CHROMIUM
from tests.portal.conftest import MadeOrganisation
from tests.stubs.nameservers import Nameservers
from tests.stubs.powerdns import KEY

ROOT = Path(__file__).parents[3]
DEADLINE_S = 120


@pytest.fixture
def address(portal_app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, portal_app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.port}"
    server.shutdown()


class Journey:
    """The browser's process; while it is waited for, the workers work."""

    def __init__(
        self, asked: dict[str, Any], run_jobs: Callable[[], None], module: str = "tests.portal.domains.journey"
    ) -> None:
        command = [sys.executable, "-m", module]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        self._run_jobs = run_jobs
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.go_on(json.dumps(asked))

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def go_on(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def part(self) -> Any:
        """What the next part of the journey says."""
        ends_at = time.monotonic() + DEADLINE_S
        while time.monotonic() < ends_at:
            self._run_jobs()
            try:
                return json.loads(self._lines.get(timeout=0.2))
            except queue.Empty:
                if self.process.poll() is not None:
                    break
        self.process.kill()
        raise AssertionError(self.process.communicate()[1][-3000:])


@pytest.mark.timeout(300)
def test_from_the_first_letter_to_a_new_key(
    parts: Portal,
    address: str,
    world: Nameservers,
    run_jobs: Callable[[], None],
    organisation: MadeOrganisation,
) -> None:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: run `make test` once as root")
    domain = f"harbour-{ObjectId()}.test"
    zone = world.zone(domain)
    who = (organisation.members[Role.OWNER].email, PASSWORD)
    pictures = os.environ.get("EIDER_PICTURES", "")
    journey = Journey(
        {"chromium": CHROMIUM, "base": address, "who": who, "domain": domain, "pictures": pictures, "token": KEY},
        run_jobs,
    )
    told = journey.part()
    records = told["records"]
    assert len(records) >= 16
    assert told["name"] == f"{domain}.zone"
    assert all(record["type"] in told["zone"] for record in records)
    for record in records:
        relative, *values = record["copied"]
        name = domain if relative == "@" else f"{relative}.{domain}"
        held = zone.get(name, record["type"]) if record["type"] == "TXT" else []
        zone.add(name, record["type"], *held, *(rdata(record["type"], value) for value in values))
    journey.go_on()
    assert set(journey.part()["states"]) == {"right"}
    tenant_id = organisation.organisation.tenant_id
    assert parts.mail.domains.get(tenant_id, domain).delivers_here
    journey.go_on()
    last = journey.part()
    keys = last["keys"]
    assert last["faults"] == [], "what axe finds, and what is wider than its window"
    assert any("eider2" in key and "signs" in key for key in keys), keys
    by_state = {key.state: key.selector for key in parts.mail.dkim_keys.list_of(tenant_id, domain)}
    assert by_state == {DkimKeyState.ACTIVE: "eider2", DkimKeyState.RETIRING: "eider1"}
    assert journey.process.wait(30) == 0
