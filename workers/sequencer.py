"""The process `sequencer`: follows the changes of every shard and numbers their events.

As many as one likes may run: for each shard, and for the directory, one of them has the lease, the others wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from bson import ObjectId
from pymongo.change_stream import ChangeStream
from pymongo.errors import OperationFailure, PyMongoError

from mailcore.errors import MailError
from mailcore.services import MailServices
from mailcore.services.events.sequencer import BATCH, Sequencer
from mailcore.store.guard import Document
from mailcore.store.user.trail import AlreadyNumbered

log = logging.getLogger(__name__)

WAIT_MS: Final = 250
"""How long the database holds back an answer while nothing changes; so long an event waits at most."""
PAUSE_S: Final = 1.0
RENEW_S: Final = 5.0
LOOK_FOR_SHARDS_S: Final = 30.0

GoesOn = Callable[[], bool]


def run_sequencers(services: MailServices, goes_on: GoesOn) -> None:
    """Drive one thread for each database, also for shards that are added later, until told to stop."""
    threads: dict[str, threading.Thread] = {}
    while goes_on():
        try:
            for sequencer in services.events.sequencers():
                if sequencer.name not in threads:
                    thread = threading.Thread(target=follow, args=(sequencer, goes_on), name=f"events:{sequencer.name}")
                    threads[sequencer.name] = thread
                    thread.start()
        except MailError as error:
            log.warning("events.directory_away", extra={"reason": type(error).__name__})
        _pause(LOOK_FOR_SHARDS_S if threads else PAUSE_S, goes_on)
    for thread in threads.values():
        thread.join()


def follow(sequencer: Sequencer, goes_on: GoesOn) -> None:
    """Number events whenever this process has the lease; whatever fails is begun anew."""
    holder = ObjectId()
    while goes_on():
        try:
            lease = sequencer.streams.take_lease(holder)
            if lease is None:
                _pause(PAUSE_S, goes_on)
                continue
            if sequencer.mail is None:
                sequencer.step()
                _pause(PAUSE_S, goes_on)
            else:
                _follow_heads(sequencer, holder, lease.resume_token, goes_on)
        except AlreadyNumbered:
            log.info("events.lease_lost", extra={"shard": sequencer.name})
            _pause(PAUSE_S, goes_on)
        except OperationFailure as error:
            log.warning("events.stream_ended", extra={"shard": sequencer.name, "code": error.code})
            _begin_anew(sequencer)
            _pause(PAUSE_S, goes_on)
        except (MailError, PyMongoError) as error:
            log.warning("events.shard_away", extra={"shard": sequencer.name, "reason": type(error).__name__})
            _pause(PAUSE_S, goes_on)
        except Exception:  # a thread that ended would be missed by nobody: the lease would go, events stay away
            log.exception("events.failed", extra={"shard": sequencer.name})
            _pause(PAUSE_S, goes_on)
    try:
        sequencer.streams.give_up_lease(holder)
    except MailError:
        log.info("events.lease_kept", extra={"shard": sequencer.name})


def _follow_heads(sequencer: Sequencer, holder: ObjectId, token: Document | None, goes_on: GoesOn) -> None:
    """Follow the change stream until the lease is lost; without a token look at every mailbox first."""
    assert sequencer.mail is not None
    with sequencer.mail.heads.watch(token, WAIT_MS) as changes:
        if token is None:
            sequencer.catch_up()
        renewed_at = time.monotonic()
        while goes_on():
            keys = _changed(changes)
            sequencer.step(sorted(keys))
            if keys or time.monotonic() - renewed_at > RENEW_S:
                if sequencer.streams.take_lease(holder, changes.resume_token) is None:  # type: ignore[arg-type]
                    return
                renewed_at = time.monotonic()


def _changed(changes: ChangeStream[Document]) -> set[bytes]:
    """Return the mailboxes that changed, once nothing more has for a moment or many have."""
    keys: set[bytes] = set()
    ends_at = time.monotonic() + WAIT_MS / 1000
    while len(keys) < BATCH:
        change = changes.try_next()
        if change is not None:
            keys.add(bytes(change["documentKey"]["_id"]))
        if change is None or time.monotonic() > ends_at:
            break
    return keys


def _begin_anew(sequencer: Sequencer) -> None:
    try:
        sequencer.streams.forget_token()
    except MailError as error:
        log.warning("events.shard_away", extra={"shard": sequencer.name, "reason": type(error).__name__})


def _pause(seconds: float, goes_on: GoesOn) -> None:
    until = time.monotonic() + seconds
    while goes_on() and time.monotonic() < until:
        time.sleep(0.1)
