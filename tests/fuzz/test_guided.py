"""Coverage-guided fuzz in processes of their own: twelve minutes in all, or EIDER_FUZZ_S seconds each.

Seeds are made by our own code.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.imap.test_wire import FRAGMENTS
from tests.hostile import HOSTILE
from tests.system.servers import ROOT
from tests.unit.sieve.test_fuzz import LINES as SCRIPT_LINES
from tests.unit.sieve.test_fuzz import NAMES

pytest.importorskip("atheris")

SECONDS = int(os.environ.get("EIDER_FUZZ_S", "100"))
LONGEST = {"mime": 64 * 1024}
LONGEST_OF_OTHERS = 2048
MEMORY_MB = 1024
TARGETS = ("scanner", "arguments", "mime", "header", "smtp_line", "smtp_data", "sieve")
LINES = (
    b"MAIL FROM:<a@b.example> SIZE=10 BODY=8BITMIME SMTPUTF8", b'RCPT TO:<"a b"@[192.0.2.1]>', b"BDAT 10 LAST",
    b"XFORWARD IDENT=a+2Bb", b"<@one,@two:a@b>", b"a\r\n..b\r\n.\r\nrest", b"\r\n.\r\n", b"\n.\n\r.\r",
)  # fmt: skip
SCRIPTS = tuple(f"require [{NAMES}];{line}\0Subject: a\r\nTo: b+c@d\r\n\r\ne".encode() for line in SCRIPT_LINES)


def seeds(folder: Path, longest: int) -> None:
    """Write a corpus to begin with."""
    folder.mkdir()
    small = [message.build() for message in HOSTILE if not message.is_large]
    lines = [b"t " + fragment + b" " + other + b"\r\n" for fragment in FRAGMENTS for other in FRAGMENTS[::7]]
    for number, seed in enumerate(
        [*LINES, *SCRIPTS, *FRAGMENTS, *lines, *(raw for raw in small if len(raw) <= longest)]
    ):
        (folder / f"{number:04}").write_bytes(seed)


def fuzz(target: str, folder: Path, module: str, seconds: int) -> subprocess.CompletedProcess[bytes]:
    """Run one target; its exit status is not 0 if it found something."""
    corpus = folder / "corpus"
    longest = LONGEST.get(target, LONGEST_OF_OTHERS)
    seeds(corpus, longest)
    options = [f"-max_total_time={seconds}", f"-max_len={longest}", "-timeout=20", f"-rss_limit_mb={MEMORY_MB}"]
    return subprocess.run(
        [sys.executable, "-m", module, target, *options, "-print_final_stats=1", f"-artifact_prefix={folder}/", corpus],
        cwd=ROOT,
        capture_output=True,
        timeout=seconds + 300,
        check=False,
    )


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 400)
@pytest.mark.parametrize("target", TARGETS)
def test_guided_fuzz_finds_nothing(target: str, tmp_path: Path) -> None:
    found = fuzz(target, tmp_path, "tests.fuzz.guided", SECONDS)
    said = found.stderr.decode(errors="replace")
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
    assert found.returncode == 0, said[-6000:]
    assert executed is not None
    print(f"{target}: {executed[1]} inputs in {SECONDS} s")
    assert int(executed[1]) > 1000, said[-2000:]


@pytest.mark.soak
def test_guided_fuzz_would_find_a_fault(tmp_path: Path) -> None:
    """Negative control: a target that breaks at one word is broken within seconds."""
    found = fuzz("breaks_at_a_word", tmp_path, "tests.fuzz.guided_control", 60)
    assert found.returncode != 0
    assert list(tmp_path.glob("crash-*"))
