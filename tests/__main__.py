"""`python -m tests`: every test, in as many pytest processes side by side as there are cores, three at most.

Each lane has databases of its own and takes one part after the other, longest first. What a part
prints appears when it has ended. Arguments are pytest's; with any, one process runs what they choose.
Whatever they write lies in memory where there is room for it, for MongoDB waits for the disk at every write.
(pytest-xdist starts its threads before gevent can patch them, so its workers do not run.)
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Final

from infra.devstack.stack import Stack

HERE: Final = Path(__file__).parent
LONGEST_FIRST: Final = ("portal", "system", "chaos", "services", "api", "transcripts", "store", "relay", "unit")
LANES: Final = min(os.cpu_count() or 1, 3)
INTERRUPTED, NOTHING_COLLECTED = 2, 5
MEMORY: Final = Path("/dev/shm")
MEMORY_BYTES: Final = 8 << 30
SUMMARY: Final = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed|warnings?)\b")


class Run:
    """The parts that wait, and what those that ended said."""

    def __init__(self) -> None:
        self._parts: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._total: Counter[str] = Counter()
        self._failed: list[str] = []
        self._printing = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        for part in _parts():
            self._parts.put(part)

    def whole(self) -> int:
        """Run everything; return the exit code, 0 only if each part passed."""
        began = time.monotonic()
        lanes = [threading.Thread(target=self._lane) for _ in range(LANES)]
        for lane in lanes:
            lane.start()
        try:
            for lane in lanes:
                lane.join()
        except KeyboardInterrupt:
            self._end()
            raise
        counts = ", ".join(f"{count} {word}" for word, count in sorted(self._total.items()))
        print(f"===== all parts: {counts} in {time.monotonic() - began:.0f}s =====")
        if self._failed:
            print(f"failed: {', '.join(self._failed)}")
        return 1 if self._failed or not self._total["passed"] else 0

    def _end(self) -> None:
        """Start nothing more, and let what runs take down what it started."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._parts.get_nowait()
        for process in tuple(self._running):
            process.terminate()

    def _lane(self) -> None:
        with tempfile.TemporaryDirectory(prefix="eider-test-", dir=_memory()) as folder:
            Path(folder).chmod(0o711)  # some tests act as other users
            stack = Stack(Path(folder) / "data", durable=False)
            try:
                stack.start()
                while True:
                    try:
                        part = self._parts.get_nowait()
                    except queue.Empty:
                        return
                    if self._run(part, stack, folder) == INTERRUPTED:
                        return
            finally:
                stack.discard()

    def _run(self, part: Path, stack: Stack, folder: str) -> int:
        """Run a part and return pytest's exit code."""
        environment = os.environ | {"EIDER_TEST_STACK": str(stack.endpoints_path), "TMPDIR": folder}
        command = [sys.executable, "-m", "pytest", "-q", str(part)]
        with subprocess.Popen(
            command, env=environment, cwd=HERE.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            self._running.add(process)
            output, _ = process.communicate()
            self._running.discard(process)
        lines = output.splitlines()
        with self._printing:
            print(f"===== tests/{part.name}", output, sep="\n", flush=True)
            self._total.update({word: int(count) for count, word in SUMMARY.findall(lines[-1] if lines else "")})
            if process.returncode not in {0, NOTHING_COLLECTED}:
                self._failed.append(f"tests/{part.name}")
        return process.returncode


def _memory() -> Path | None:
    """Return the file system in memory, if programs may run from it and tests leave enough of it."""
    try:
        there = os.statvfs(MEMORY)
    except OSError:
        return None
    has_room = there.f_bavail * there.f_frsize >= MEMORY_BYTES and not there.f_flag & os.ST_NOEXEC
    return MEMORY if has_room and os.access(MEMORY, os.W_OK) else None


def _parts() -> list[Path]:
    """Return the folders of tests, longest first, those that nobody has listed before all others."""
    folders = sorted(folder for folder in HERE.iterdir() if any(folder.rglob("test_*.py")))
    return sorted(folders, key=lambda folder: LONGEST_FIRST.index(folder.name) if folder.name in LONGEST_FIRST else -1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = sys.argv[1:]
    sys.exit(subprocess.call([sys.executable, "-m", "pytest", "-q", *chosen]) if chosen else Run().whole())
