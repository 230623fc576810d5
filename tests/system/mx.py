"""Postfix and rspamd of Debian, run by the configuration in `infra/`, in front of servers of a test; needs root."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.ports import port_that_stays
from tests.waiting import wait_until

NEEDS = [
    pytest.mark.root,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("postfix", "rspamd"))),
        reason="needs root, and Debian's postfix and rspamd: `apt-get install postfix rspamd`",
    ),
]
"""Marks for tests that run them: both begin as root and give it up."""
ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
HOSTNAME = "mx.test"
START_S = 60.0
OPTIONS = """
dns {{ nameserver = ["127.0.0.1:{dns}"]; timeout = {timeout}; retransmits = 1; }}
enable_test_patterns = true;
url_tld = "{folder}/tld";
disable_hyperscan = true;
pidfile = "{folder}/rspamd.pid";
"""
"""Nobody answers its questions to the DNS; few top-level domains, for a quick start."""


SPAM_WORD = "unmissable"
"""In a subject, marks a message as spam; rspamd does not scan messages with its own test patterns as it does others."""
SPAM_RULE = """
TEST_WORD {{ type = "header"; header = "subject"; map = "{folder}/words"; regexp = true; score = 8.0; }}
"""


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that servers which give up root can reach, as those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="eider-mx-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    ends_at = time.monotonic() + START_S
    while True:
        with suppress(OSError):
            socket.create_connection((HOST, port), timeout=1).close()
            return
        assert process.poll() is None, log.read_text(errors="replace")[-4000:]
        assert time.monotonic() < ends_at, log.read_text(errors="replace")[-4000:]
        time.sleep(0.05)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def rspamd(
    folder: Path, redis: str = "", dns: int = 0, replaced: Mapping[str, str] = MappingProxyType({})
) -> Iterator[dict[str, int]]:
    """Run it with infra/rspamd; yields its ports: proxy (milter), normal, controller.

    `redis`: host:port; `dns`: the port of a resolver, without which its questions are not answered; `replaced`:
    settings by module, in place of those of infra/rspamd.
    """
    home = folder / "rspamd"
    shutil.copytree(ROOT / "infra/rspamd/local.d", home / "local.d")
    over = home / "override.d"
    over.mkdir()
    ports = {name: port_that_stays() for name in ("proxy", "normal", "controller")}
    for name, port in ports.items():
        (over / f"worker-{name}.inc").write_text(f'bind_socket = "{HOST}:{port}";\n')
    with (over / "worker-controller.inc").open("a") as file:
        file.write('password = "learn";\nenable_password = "learn";\nsecure_ip = null;\n')
    (home / "tld").write_text("test\norg\ncom\n")
    (over / "options.inc").write_text(
        OPTIONS.format(folder=home, dns=dns or port_that_stays(), timeout="5s" if dns else "0.05s")
    )
    (over / "logging.inc").write_text('type = "console"; level = "info"; color = false;\n')
    for module, lines in replaced.items():
        (over / f"{module}.conf").write_text(f"{lines}\n")
    (home / "words").write_text(f"/{SPAM_WORD}/\n")
    (over / "multimap.conf").write_text(SPAM_RULE.format(folder=home))
    if redis:
        (over / "redis.conf").write_text(f'servers = "{redis}";\n')
    shutil.chown(home, "_rspamd", "_rspamd")
    log = folder / "rspamd.log"
    names = ("DBDIR", "RUNDIR", "LOGDIR", "LOCAL_CONFDIR")
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["rspamd", "-f", "-u", "_rspamd", "-g", "_rspamd", *(f"--var={name}={home}" for name in names)],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        for port in ports.values():
            wait_open(port, process, log)
        yield ports
    finally:
        end(process)


@contextmanager
def postfix(folder: Path, settings: Mapping[str, str], config: str = "postfix") -> Iterator[int]:
    """Run it with infra/`config`, a few settings replaced; yields its SMTP port. Its log is `folder/postfix.log`."""
    home, port = folder / "postfix", port_that_stays()
    (home / "queue").mkdir(parents=True)
    (home / "data").mkdir()
    shutil.chown(home / "data", "postfix")
    shutil.copy(ROOT / "infra" / config / "main.cf", home)
    master = (ROOT / "infra" / config / "master.cf").read_text()
    assert "\nsmtp      inet" in master
    (home / "master.cf").write_text(master.replace("\nsmtp      inet", f"\n{HOST}:{port} inet", 1))
    mine = {
        "myhostname": HOSTNAME,
        "queue_directory": str(home / "queue"),
        "data_directory": str(home / "data"),
        "inet_interfaces": HOST,
        "smtpd_peername_lookup": "no",  # where no resolver answers each connection would wait for it
        "smtpd_tls_chain_files": "",
        "smtpd_tls_security_level": "none",
        "maillog_file": "/dev/stdout",
    }
    pairs = [f"{name}={value}" for name, value in (mine | dict(settings)).items()]
    subprocess.run(["postconf", "-c", str(home), "-e", *pairs], check=True)
    log = folder / "postfix.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["postfix", "-c", str(home), "start-fg"], stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_open(port, process, log)
        yield port
    finally:
        subprocess.run(["postfix", "-c", str(home), "stop"], check=False, capture_output=True)
        end(process)


def wait_empty(folder: Path) -> None:
    """Wait until Postfix has nothing left to hand on."""
    left = partial(subprocess.check_output, ["postqueue", "-c", str(folder / "postfix"), "-p"], text=True)
    wait_until(lambda: "empty" in left(), START_S, left)
