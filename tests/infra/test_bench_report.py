"""`make bench`: what it says when something is missing, and the table it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.devstack import bench_report
from infra.devstack.bench_report import BEGIN, END, Harness
from infra.devstack.faults import StackFault


def row(label: str, peer: str, cpu: float, **changes: Any) -> dict[str, Any]:
    figures = {"cpu_ms_op": cpu, "p50_ms": 2 * cpu, "ops_s": 100.0, "other_cores": 0.1}
    return {"label": label, "peer": peer, "unit": "msg"} | figures | changes


RESULTS: dict[str, Any] = {
    "when": "2030-01-02T03:04:05Z",
    "rounds": 3,
    "params": {},
    "failures": [],
    "peers": {name: {"describe": {"version": "1.2"}} for name in ("ours", "wildduck", "dovecot")},
    "rows": [
        row("append", "ours", 2.0),
        row("append", "ours", 4.0),
        row("append", "ours", 90.0, other_cores=1.7),  # a neighbour was at work
        row("append", "wildduck", 12.0),
        row("append", "dovecot", 0.5),
        row("copy.bulk", "wildduck", 9.0),
        {"label": "at_rest", "peer": "ours", "values": {"rss_mb": 321.0, "pss_mb": None}},
    ],
}


def test_table_gives_medians_of_quiet_rounds_and_ratios() -> None:
    lines = bench_report.table(RESULTS).splitlines()
    assert lines[0].startswith("| operation | ours CPU ms | wildduck CPU ms | dovecot CPU ms | ours / wildduck |")
    assert "| append / msg | 3.00 | 12.0 | 0.500 | 0.250 | 6.00 |" in lines[2]
    assert lines[3].startswith("| copy.bulk / msg | - | 9.00 | - | - | - |")
    assert "| at_rest rss_mb | 321 | - | - |" in lines


def test_a_second_report_replaces_the_first_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "performance.md"
    bench_report.write_report(RESULTS, path)
    first = path.read_text()
    assert first.startswith("# Performance\n")
    assert "Measured 2030-01-02T03:04:05Z, 3 rounds" in first
    path.write_text(first + "\n## By hand\n")
    later = RESULTS | {"when": "2031-01-01T00:00:00Z", "failures": [["append", "ours", 0, "..."]]}
    bench_report.write_report(later, path)
    second = path.read_text()
    assert "2030" not in second
    assert "Failed: append on ours." in second
    assert second.endswith(f"{END}\n\n## By hand\n")
    assert second.count(BEGIN) == second.count(END) == 1


def test_a_document_without_markers_keeps_its_text(tmp_path: Path) -> None:
    assert bench_report.replace_report("# Mine\n\ntext\n", "T") == f"# Mine\n\ntext\n\n{BEGIN}\nT\n{END}\n"


def test_missing_harness_is_one_line_that_says_where_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(StackFault, match=r"no load harness in .*bench: set EIDER_SHARED") as fault:
        Harness.find({"EIDER_SHARED": str(tmp_path)}, ["wildduck"])
    assert "\n" not in str(fault.value)


def test_missing_peers_are_one_line_with_the_command_that_installs_them(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "run.py").touch()
    with pytest.raises(StackFault, match=r"mongod, node, WildDuck not installed .*setup_peers\.sh once") as fault:
        Harness.find({"EIDER_SHARED": str(tmp_path), "BENCH_INST": str(tmp_path / "none")}, ["wildduck"])
    assert "\n" not in str(fault.value)


def test_make_bench_without_harness_prints_that_line_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("EIDER_SHARED", str(tmp_path))
    assert bench_report.main(["--quick"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("make bench: there is no load harness in ")
    assert said.count("\n") == 1
