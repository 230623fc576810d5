"""What every command needs: services, and who asks."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.services import MailServices, connect
from mailcore.settings import MailSettings, SettingsInvalid


@contextmanager
def connected() -> Iterator[MailServices]:
    """Give the services, as the environment or the stack of this folder says.

    Raises:
        SystemExit: neither says where the directory is, or says it malformed; one line for each problem.
    """
    try:
        services = connect(MailSettings.for_command_line(os.environ, Path.cwd()))
    except SettingsInvalid as error:
        raise SystemExit("\n".join(f"eider: {problem}" for problem in error.problems)) from error
    except (RuntimeError, ValueError) as error:  # a URI that asks for too little, or is none
        raise SystemExit(f"eider: MONGO_URI: {error}") from error
    try:
        yield services
    finally:
        services.close()


def operator() -> Actor:
    """Return the person at the keyboard."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return Actor(ActorKind.OPERATOR, Door.CLI, name)
