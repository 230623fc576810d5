"""What every command needs: services, and who asks."""

from __future__ import annotations

import getpass
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailcore.errors import StoreFull, StoreUnavailable
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.services import MailServices
from mailcore.services.wiring import connect
from mailcore.settings import MailSettings, SettingsInvalid

log = logging.getLogger(__name__)


@contextmanager
def connected() -> Iterator[MailServices]:
    """Give the services, as the environment or the stack of this folder says.

    Raises:
        SystemExit: neither says where the directory is, or says it malformed, or it does not answer; in one
            line for each problem.
    """
    try:
        services = connect(MailSettings.for_command_line(os.environ, Path.cwd()))
    except SettingsInvalid as error:
        raise SystemExit("\n".join(f"eider: {problem}" for problem in error.problems)) from error
    except (RuntimeError, ValueError) as error:  # a URI that asks for too little, or is none
        raise SystemExit(f"eider: MONGO_URI: {error}") from error
    try:
        yield services
    except StoreFull as error:
        raise SystemExit("eider: the database has no room left: free some space, then run this again") from error
    except StoreUnavailable as error:
        log.debug("store.unavailable", exc_info=error)
        raise SystemExit("eider: the database does not answer: see that it runs (eider stack status)") from error
    finally:
        services.close()


def operator() -> Actor:
    """Return the person at the keyboard."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return Actor(ActorKind.OPERATOR, Door.CLI, name)
