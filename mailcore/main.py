"""Composition root of the mail servers: settings, services, ports, and the process around them."""

from __future__ import annotations

import importlib
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from mailcore import errors, log
from mailcore.net import process
from mailcore.net.health import HealthServer
from mailcore.net.listener import ConnectionLimits, Endpoint, Listener, StartRefused
from mailcore.net.offload import GeventOffload
from mailcore.net.tls import TlsAcceptor
from mailcore.net.web import WebEndpoint, WebServer
from mailcore.services import MailServices
from mailcore.services.trust.sealing import SealBroken
from mailcore.services.wiring import connect
from mailcore.settings import MailSettings, SettingsInvalid
from mailcore.store.client import WeakSettings

SERVERS = ("lmtp", "lookup", "imap", "pop3", "submission", "managesieve", "api", "hosts")
"""Servers by name: `mailcore.NAME.server` has their ports."""
WORKS = ("relay",)
"""Processes that nobody connects to: `mailcore.NAME.server` has what they do."""

USAGE = 64
CONFIGURATION = 78
"""Exit codes of sysexits.h."""
DIRECTORY_RETRY_S = 1.0

logger = logging.getLogger(__name__)


class ServerModule(Protocol):
    """What a server's module offers."""

    def endpoints(
        self, services: MailServices, settings: MailSettings, tls: TlsAcceptor
    ) -> tuple[Endpoint | WebEndpoint, ...]:
        """Return its ports; none if the settings name none."""


class WorkModule(Protocol):
    """What the module of a process without ports offers."""

    def background(self, services: MailServices, settings: MailSettings) -> process.Background:
        """Return what it does."""


def main(names: Sequence[str], environment: Mapping[str, str]) -> int:
    """Serve the named protocols in this process until it is told to end; return the exit code."""
    if not names or not set(names) <= {*SERVERS, *WORKS}:
        sys.stderr.write(f"usage: python -m mailcore {{{','.join((*SERVERS, *WORKS))}}} ...\n")
        return USAGE
    try:
        settings = MailSettings.from_environment(environment)
    except SettingsInvalid as invalid:
        for problem in invalid.problems:
            sys.stderr.write(f"eider: {problem}\n")
        return CONFIGURATION
    log.configure(environment.get("EIDER_LOG_LEVEL", "INFO").upper())
    try:
        return _serve(names, settings)
    except (StartRefused, WeakSettings) as refused:
        logger.error("server.refused_to_start", extra={"reason": str(refused)})  # noqa: TRY400
        sys.stderr.write(f"eider: {refused}\n")
        return CONFIGURATION


def _serve(names: Sequence[str], settings: MailSettings) -> int:
    services = connect(settings, GeventOffload())
    try:
        modules = {name: importlib.import_module(f"mailcore.{name}.server") for name in names}
        works = [cast("WorkModule", modules[name]).background(services, settings) for name in names if name in WORKS]
        tls = _tls(services) if len(works) < len(names) else TlsAcceptor(services.certificates.certificate)
        endpoints: list[Endpoint | WebEndpoint] = []
        for name in filter(SERVERS.__contains__, names):
            found = cast("ServerModule", modules[name]).endpoints(services, settings, tls)
            if not found:
                raise StartRefused(f"{name}: EIDER_{name.upper()}_LISTEN is not set")
            endpoints += found
        limits = ConnectionLimits(settings.connections, settings.connections_per_address)
        listener = Listener([one for one in endpoints if isinstance(one, Endpoint)], settings.proxy_from, limits)
        web = WebServer([one for one in endpoints if isinstance(one, WebEndpoint)])
        services.start(process.spawn)
        process.serve(listener, _health(services, settings, listener), web, works)
    finally:
        services.close()
    return 0


def _tls(services: MailServices) -> TlsAcceptor:
    """Return the acceptor for the directory's certificates, with none yet or some; waits for the directory."""
    acceptor = TlsAcceptor(services.certificates.certificate)
    while True:
        try:
            if not acceptor.look():
                logger.warning("server.without_certificate")
        except errors.Unavailable as error:
            logger.warning("server.waiting_for_directory", extra={"reason": str(error)})
            time.sleep(DIRECTORY_RETRY_S)
        except SealBroken as error:
            raise StartRefused(f"tls: EIDER_SEALING_KEYS does not open the certificate's key: {error}") from None
        except ValueError as error:
            raise StartRefused(f"tls: {error}") from None
        else:
            return acceptor


def _health(services: MailServices, settings: MailSettings, listener: Listener) -> HealthServer | None:
    if settings.health_listen is None:
        return None

    def is_ready() -> bool:
        if listener.is_draining:
            return False
        try:
            services.shards.list_all()
        except errors.Unavailable:
            return False
        return True

    return HealthServer(settings.health_listen.host, settings.health_listen.port, is_ready, services.acme.answer)
