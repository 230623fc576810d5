"""`make bench`: the load harness against us, WildDuck and Dovecot, and its table in docs/performance.md.

The harness lives outside the project, in the folder that `EIDER_SHARED` names (default: the
sibling folder `shared`); the peers are where its `setup_peers.sh` puts them (`BENCH_INST`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.devstack.faults import StackFault

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = REPOSITORY / "docs" / "performance.md"
BEGIN = "<!-- bench: begin, written by `make bench` -->"
END = "<!-- bench: end -->"
OURS = "ours"
WORKLOADS = (
    "lmtp", "imap_sync_new", "imap_select_large", "imap_fetch_bodies", "imap_mutate", "imap_search", "idle", "pop3",
    "login",
)  # fmt: skip
QUIET_CORES = 0.5  # rounds with more load from elsewhere are left out where quieter ones exist

Row = Mapping[str, Any]

INTRODUCTION = f"""\
# Performance

What one operation costs, measured from outside: server CPU (user and system time of all
processes, databases included) per operation, every server up at once, interleaved rounds,
medians. `make bench` measures again and replaces the table.

{BEGIN}
{END}
"""


@dataclass(frozen=True, slots=True)
class Harness:
    """Where the harness and the peers' programs are."""

    folder: Path
    python: Path

    @classmethod
    def find(cls, environment: Mapping[str, str], peers: Sequence[str]) -> Harness:
        """Find everything a run needs.

        Raises:
            StackFault: one line that names what is missing and the command that brings it.
        """
        shared = Path(environment.get("EIDER_SHARED") or REPOSITORY.parent / "shared")
        folder = shared / "bench"
        if not (folder / "run.py").is_file():
            raise StackFault(f"there is no load harness in {folder}: set EIDER_SHARED to the folder that holds bench/")
        installed = Path(environment.get("BENCH_INST") or "/tmp/bench-inst")  # noqa: S108  the harness's own default
        needed = {"the harness's Python": installed / "venv/bin/python"}
        if "wildduck" in peers:
            needed["mongod"] = installed / "bin/mongod"
            needed["node"] = installed / "node22/node_modules/node/bin/node"
            needed["WildDuck"] = installed / "wd/node_modules/@zone-eu/wildduck/server.js"
        if "dovecot" in peers:
            needed["Dovecot"] = Path("/usr/sbin/dovecot")
        missing = [name for name, path in needed.items() if not path.exists()]
        if missing:
            setup = folder / "setup_peers.sh"
            raise StackFault(f"{', '.join(missing)} not installed (looked in {installed}): run {setup} once, as root")
        if "dovecot" in peers and os.geteuid() != 0:
            raise StackFault("Dovecot starts as root only: run `make bench` as root, or with BENCH='--peers wildduck'")
        return cls(folder, needed["the harness's Python"])

    def users(self) -> str:
        """Return the names of the accounts that a peer must have, one a line."""
        return subprocess.run(
            [str(self.python), str(self.folder / "run.py"), "--list-users"], check=True, capture_output=True, text=True
        ).stdout

    def run(self, peers: Sequence[str], workloads: Sequence[str], rounds: int, out: Path, extra: Sequence[str]) -> None:
        """Run the workloads and write every row to `out`."""
        command = [str(self.python), str(self.folder / "run.py"), "--peers", ",".join(peers)]
        command += ["--workloads", ",".join(workloads), "--rounds", str(rounds), "--out", str(out), *extra]
        outcome = subprocess.run(command, check=False, cwd=out.parent)
        if not out.is_file():
            raise StackFault(f"the harness ended with status {outcome.returncode} and without results")


def quiet_rows(rows: Sequence[Row]) -> Sequence[Row]:
    """Leave out rounds that a neighbour disturbed, where undisturbed ones exist."""
    return [row for row in rows if row["other_cores"] < QUIET_CORES] or rows


def median(rows: Sequence[Row], key: str) -> float | None:
    """Return the median of a column over the quiet rounds, None where nothing was measured."""
    values = [row[key] for row in quiet_rows(rows) if row[key] is not None]
    return statistics.median(values) if values else None


def figure(value: float | None) -> str:
    """Return a figure with three digits that count."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}" if size >= 0.01 else f"{value:.5f}"


def table(results: Mapping[str, Any]) -> str:
    """Return the Markdown table of one run: CPU per operation of all, the ratio, the median times."""
    labels = sorted(results["peers"], key=lambda label: (label != OURS, label == "dovecot"))
    measured = [row for row in results["rows"] if "values" not in row]
    operations = list(dict.fromkeys((row["label"], row["unit"]) for row in measured))
    others = [label for label in labels if label != OURS]
    heading = [f"{label} CPU ms" for label in labels] + [f"{OURS} / {label}" for label in others]
    heading += [f"{label} p50 ms" for label in labels] + [f"{label} ops/s" for label in labels]
    lines = [f"| operation | {' | '.join(heading)} |", "|---|" + "---:|" * len(heading)]
    for operation, unit in operations:
        rows = {label: [r for r in measured if r["label"] == operation and r["peer"] == label] for label in labels}
        cpu = {label: median(rows[label], "cpu_ms_op") for label in labels}
        own = cpu.get(OURS)
        cells = [figure(cpu[label]) for label in labels]
        for label in others:
            theirs = cpu[label]
            cells.append(figure(own / theirs) if own is not None and theirs else "-")
        cells += [figure(median(rows[label], "p50_ms")) for label in labels]
        cells += [figure(median(rows[label], "ops_s")) for label in labels]
        lines.append(f"| {operation} / {unit} | {' | '.join(cells)} |")
    return "\n".join(lines + values_tables(results, labels))


def values_tables(results: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """Return the tables of what is no operation: memory and disk."""
    rows = [row for row in results["rows"] if "values" in row]
    if not rows:
        return []
    lines = ["", f"| at rest and on disk | {' | '.join(labels)} |", "|---|" + "---:|" * len(labels)]
    keys = dict.fromkeys((row["label"], key) for row in rows for key in row["values"] if row["label"] != "rss_end_mb")
    for name, key in keys:
        cells = []
        for label in labels:
            found = [r["values"][key] for r in rows if r["label"] == name and r["peer"] == label and key in r["values"]]
            numbers = [number for number in found if number is not None]
            cells.append(figure(statistics.median(numbers)) if numbers else "-")
        lines.append(f"| {name} {key} | {' | '.join(cells)} |")
    return lines


def machine() -> str:
    """Return one line on this machine: processors, memory, system."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = " ".join(line.partition(":")[2].split())
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel, python = platform.release(), platform.python_version()
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, Linux {kernel}, Python {python}"


def report(results: Mapping[str, Any]) -> str:
    """Return what stands between the markers: when, where, against what, and the tables."""
    lines = [f"Measured {results['when']}, {results['rounds']} rounds, load generator beside the servers: {machine()}."]
    if results["params"]:
        lines.append(f"Sizes differ from the harness's own: `{json.dumps(results['params'])}`.")
    lines.append("")
    for label, peer in results["peers"].items():
        facts = "; ".join(f"{key} {value}" for key, value in peer["describe"].items())
        lines.append(f"- **{label}**: {facts}")
    lines += ["", table(results)]
    if results["failures"]:
        lines += ["", "Failed: " + "; ".join(f"{name} on {label}" for name, label, *_ in results["failures"]) + "."]
    return "\n".join(lines)


def replace_report(document: str, text: str) -> str:
    """Return the document with the text between the markers, at its end where it has none."""
    if BEGIN not in document or END not in document:
        document = f"{document.rstrip()}\n\n{BEGIN}\n{END}\n" if document.strip() else INTRODUCTION
    before, _, rest = document.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def write_report(results: Mapping[str, Any], path: Path) -> None:
    """Replace the report in the document."""
    document = path.read_text() if path.is_file() else ""
    path.parent.mkdir(exist_ok=True)
    path.write_text(replace_report(document, report(results)))


def peer_file(folder: Path, users: str, options: Sequence[str]) -> Path:
    """Write a peer file that says how to start us; the harness does, and reads what that wrote."""
    names = folder / "users"
    names.write_text(users)
    path = folder / "peer.json"
    start = [sys.executable, "-m", "infra.devstack.bench", "--users", str(names), "--out", str(path)]
    path.write_text(json.dumps({"start": [*start, *options]}))
    return path


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the harness with us as one of its peers and return all rows.

    Raises:
        StackFault: something is not installed, or the harness gave no results.
    """
    peers = [name for name in options.peers.split(",") if name]
    harness = Harness.find(os.environ, [name.partition(":")[0] for name in peers])
    with tempfile.TemporaryDirectory(prefix="eider-bench-") as folder:
        own = peer_file(Path(folder), harness.users(), ["--processes", str(options.processes)])
        out = Path(folder) / "results.json"
        extra = ["--quick"] if options.quick else []
        for assignment in options.set:
            extra += ["--set", assignment]
        harness.run([f"ours:{own}", *peers], options.workloads.split(","), options.rounds, out, extra)
        text = out.read_text()
    if options.keep:
        Path(options.keep).write_text(text)
    results: dict[str, Any] = json.loads(text)
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write docs/performance.md; a missing part is one line on standard error."""
    parser = argparse.ArgumentParser(prog="make bench", description="Compare with other mail servers.")
    parser.add_argument("--peers", default="wildduck,dovecot", help="the harness's peers beside us")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="of the harness, or `all`")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1, help="server processes of ours for each protocol")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON", help="a size of the harness")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size; the document stays as it is")
    parser.add_argument("--keep", metavar="FILE", help="also write every row there, as JSON")
    options = parser.parse_args(arguments)
    try:
        results = measure(options)
    except StackFault as fault:
        print(f"make bench: {fault}", file=sys.stderr)
        return 1
    if options.quick:
        print(table(results))
    else:
        write_report(results, DOCUMENT)
        print(f"written: {DOCUMENT}")
    return 1 if results["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
