"""The Redis process."""

from __future__ import annotations

from pathlib import Path

import redis

from infra.devstack.binaries import REDIS_SERVER, program
from infra.devstack.process import Process

START_TIMEOUT_S = 30.0
DATABASES = 4096  # a test process takes one for itself


def redis_server(data_dir: Path, port: int, log_dir: Path, *, durable: bool) -> Process:
    """Describe the server; the queue survives a restart when durable."""
    folder = data_dir / "redis"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = [str(program(REDIS_SERVER)), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--databases", str(DATABASES), "--save", "", "--appendonly", "yes" if durable else "no"]
    command += ["--hz", "2"]  # looks at what is due twice a second, not ten times: an idle server is woken for nobody
    return Process("redis", command, cwd=folder, log_path=log_dir / "redis.log")


def url(port: int, database: int = 0) -> str:
    """Return the URL of one of its numbered databases."""
    return f"redis://127.0.0.1:{port}/{database}"


def is_ready(port: int, pid: int | None) -> bool:
    """Tell whether the server answers and is that process, not another that took its port."""
    try:
        with redis.Redis.from_url(url(port), socket_timeout=2) as client:
            return bool(client.info("server")["process_id"] == pid)
    except redis.RedisError:
        return False
