"""The processes `worker`, `scheduler` and `sequencer`: `python -m workers.main worker`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from redis import Redis
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from mailcore.services import MailServices
from mailcore.services.wiring import connect
from mailcore.settings import MailSettings, SettingsInvalid
from portal.billing.gateway import client_of
from portal.database import Database
from portal.jobs import queue
from portal.mail_plane import Portal
from portal.settings import PortalSettings
from portal.settings import SettingsInvalid as PortalSettingsInvalid
from workers.context import JobContext, job_class
from workers.registry import QUEUES
from workers.schedule import run_scheduler
from workers.sequencer import run_sequencers

log = logging.getLogger(__name__)

USAGE = "usage: python -m workers.main worker|scheduler|sequencer"


def make_worker(services: MailServices, redis: Redis, portal: Portal | None = None) -> SimpleWorker:
    """Return a worker that runs registered jobs in this process, one after the other."""
    bound = job_class(JobContext(services, redis, portal))
    queues = [Queue(name, connection=redis, job_class=bound, serializer=JSONSerializer) for name in QUEUES]
    return SimpleWorker(queues, connection=redis, job_class=bound, serializer=JSONSerializer)


def main(arguments: list[str]) -> int:
    """Run one process until SIGTERM; a job under way is finished first."""
    if arguments not in (["worker"], ["scheduler"], ["sequencer"]):
        sys.stderr.write(USAGE + "\n")
        return 2
    try:
        settings = MailSettings.from_environment(os.environ)
        portal_settings = PortalSettings.from_environment(os.environ) if os.environ.get("DATABASE_URL") else None
    except (SettingsInvalid, PortalSettingsInvalid) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if arguments == ["sequencer"]:
        services = connect(settings)
        try:
            run_sequencers(services, until_told_to_stop())
        finally:
            services.close()
        return 0
    if settings.redis_url is None:
        sys.stderr.write("REDIS_URL is not set: jobs wait in Redis\n")
        return 2
    redis = Redis.from_url(settings.redis_url.reveal_text())
    if arguments == ["scheduler"]:
        run_scheduler(redis, until_told_to_stop())
        return 0
    services = connect(settings)
    try:
        portal = None
        if portal_settings is not None:
            payments = client_of(portal_settings.stripe) if portal_settings.stripe is not None else None
            database = Database(portal_settings.database_url, queue(redis))
            portal = Portal(portal_settings, database, services, redis, payments)
        make_worker(services, redis, portal).work(logging_level=logging.getLevelName(logging.getLogger().level))
    finally:
        services.close()
    return 0


def until_told_to_stop() -> Callable[[], bool]:
    """Return what says whether to go on: until SIGTERM or SIGINT."""
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return lambda: not stopping


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
