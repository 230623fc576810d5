"""Thunderbird without a screen, told what to do over its own remote protocol (Marionette)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ports import port_that_stays

START_S = 60.0
SCRIPT_S = 60.0
QUIET: Mapping[str, object] = {
    "app.update.auto": False,
    "app.update.enabled": False,
    "browser.safebrowsing.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.autoDisableScopes": 15,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "mail.chat.enabled": False,
    "mail.cloud_files.enabled": False,
    "mail.provider.enabled": False,
    "mail.rights.version": 1,
    "mail.shell.checkDefaultClient": False,
    "mail.spam.manualMark": False,
    "mailnews.start_page.enabled": False,
    "media.gmp-manager.url": "",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.manage-offline-status": False,
    "offline.startup_state": 2,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.unified": False,
}
"""It shall ask nobody but our server, and show no dialogue."""


class Marionette:
    """A client of the remote protocol: `length:[type, id, name, parameters]`, answers `[1, id, error, result]`."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._buffer = b""
        self._number = 0
        assert self._read()["marionetteProtocol"] == 3
        self.ask("WebDriver:NewSession", {})
        self.ask("Marionette:SetContext", {"value": "chrome"})
        self.ask("WebDriver:SetTimeouts", {"script": int(SCRIPT_S * 1000)})

    def run(self, script: str, *arguments: object) -> Any:
        """Run the body of an async function within Thunderbird; return what it returns."""
        wrapped = (
            "const [...given] = arguments; const done = given.pop();"
            "(async (...args) => {"
            + script
            + "})(...given).then(value => done({value}), error => done({error: `${error} ${error.stack}`}));"
        )
        result = self.ask("WebDriver:ExecuteAsyncScript", {"script": wrapped, "args": arguments, "sandbox": "system"})[
            "value"
        ]
        assert "error" not in result, result
        return result.get("value")

    def ask(self, name: str, parameters: Mapping[str, object]) -> Any:
        """Carry out one command."""
        self._number += 1
        data = json.dumps([0, self._number, name, parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(data), data))
        kind, number, error, result = self._read()
        assert (kind, number, error) == (1, self._number, None), error
        return result

    def _read(self) -> Any:
        while b":" not in self._buffer:
            self._more()
        length, _, self._buffer = self._buffer.partition(b":")
        while len(self._buffer) < int(length):
            self._more()
        data, self._buffer = self._buffer[: int(length)], self._buffer[int(length) :]
        return json.loads(data)

    def _more(self) -> None:
        data = self._socket.recv(1 << 16)
        assert data, "Thunderbird hung up"
        self._buffer += data


@contextmanager
def thunderbird(home: Path, preferences: Mapping[str, object]) -> Iterator[Marionette]:
    """Run it with a profile of its own in `home` until the block ends."""
    profile = home / "profile"
    profile.mkdir()
    port = port_that_stays()
    values = {**QUIET, **preferences, "marionette.port": port}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in values.items()]
    (profile / "user.js").write_text("".join(lines))
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", "MOZ_HEADLESS": "1"}
    command = [
        "thunderbird",
        "--headless",
        "--marionette",
        "--remote-allow-system-access",
        "--no-remote",
        "--profile",
        str(profile),
    ]
    with (home / "thunderbird.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        with _connect(process, port, home / "thunderbird.log") as connected:
            yield Marionette(connected)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _connect(process: subprocess.Popen[bytes], port: int, log: Path) -> socket.socket:
    ends_at = time.monotonic() + START_S
    while True:
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < ends_at, log.read_text(errors="replace")
        try:
            return socket.create_connection(("127.0.0.1", port), SCRIPT_S + 10)
        except OSError:
            time.sleep(0.1)
