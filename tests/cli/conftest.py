"""The command line on the session's real databases, in this process."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mailcore.cli import main
from tests.builders import SEALING_KEYS, make_services


@dataclass(frozen=True)
class Outcome:
    """What a command said."""

    status: int
    out: str
    err: str


Eider = Callable[..., Outcome]


@pytest.fixture
def eider(
    directory_uri: str,
    shard_uris: dict[str, Any],
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Eider:
    """Return `eider(*arguments, stdin="")`: one command, carried out."""
    make_services(directory_uri, shard_uris, redis_url).close()
    monkeypatch.setenv("MONGO_URI", directory_uri)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("EIDER_SEALING_KEYS", SEALING_KEYS)

    def run(*arguments: str, stdin: str = "") -> Outcome:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        try:
            status = main(list(arguments))
        except SystemExit as end:
            if isinstance(end.code, str):
                return Outcome(1, *_read(capsys, end.code))
            status = int(end.code or 0)
        return Outcome(status, *_read(capsys, ""))

    return run


def _read(capsys: pytest.CaptureFixture[str], more: str) -> tuple[str, str]:
    read = capsys.readouterr()
    return read.out, read.err + more
