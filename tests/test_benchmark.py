"""The verb: what it writes and prints, in every mode, on the tiny exported bundle."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from commands import Command

from sam3_edge.errors import CheckError, SourceError
from sam3_edge.timing import report, tables

FAST = (
    "--size",
    "80x60",
    "--threads",
    "1",
    "--warmup",
    "2",
    "--frames",
    "3",
    "--min-duration",
    "0",
    "--quick",
)


def read(folder: Path) -> dict[str, Any]:
    return report.read(folder / "report.json")


def test_frames(command: Command, exported: Path, tmp_path: Path) -> None:
    done = command("benchmark", exported, *FAST, "--objects", "1,3", "-o", tmp_path / "out")
    assert done.code == 0
    assert "p50 n/a (needs 11)" in done.out and "warning: quick: shorter than" in done.out
    document = read(tmp_path / "out")
    assert [run["objects"] for run in document["runs"]] == [1, 3]
    assert document["clip"]["width"] == 80 and document["clip"]["codec"] == "jpeg"
    for run in document["runs"]:
        assert run["components"]["unaccounted"] < 0.05
        assert len(run["samples_ms"]) == run["latency_ms"]["n"] == 3
        assert run["memory"]["growth_mb_per_1000_frames"] is None
    again = command("benchmark", exported, *FAST, "-o", tmp_path / "out")
    assert again.code == 2 and "report.json exists: pass --overwrite" in again.error


def test_formats(command: Command, exported: Path, tmp_path: Path) -> None:
    done = command("benchmark", exported, *FAST, "--objects", "1", "-o", tmp_path, "--json")
    document = done.document
    assert document["schema"] == 1 and document == read(tmp_path)
    (row,) = csv.DictReader(io.StringIO(tables.comma_separated(document)))
    assert row["n"] == "3" and row["p99 ms"] == "n/a (needs 662)" and row["mode"] == "frame (quick)"
    head, line, cells = tables.markdown(document, "x/report.json").splitlines()
    assert head.count("|") == line.count("|") == cells.count("|") and "[JSON](x/report.json)" in cells
    assert (tmp_path / "row.md").read_text() == tables.markdown(document)
    assert '"samples_ms": [' in (tmp_path / "report.json").read_text()
    for load, told in ((document["machine"]["cores"] + 1, False), (99.5, True)):
        document["before"]["load_1min"], document["after"]["load_1min"] = 0.1, load
        assert any("other programs ran: a load of 99.5" in what for what in report.warnings(document)) is told


def test_cold_processes(command: Command, exported: Path, tmp_path: Path) -> None:
    words = ("--mode", "cold", "--processes", "2", "--size", "80x60", "--threads", "1")
    done = command("benchmark", exported, *words, "-o", tmp_path)
    assert done.code == 0 and "fresh processes to the first masks" in done.out
    found = read(tmp_path)["cold"]
    assert found["first_masks_ms"]["n"] == 2
    for one in found["processes"]:
        stages = one["stages_ms"]
        assert all(taken > 0 for taken in stages.values())
        first = sum(taken for name, taken in stages.items() if name != "second_frame")
        assert first == pytest.approx(one["first_masks_ms"], abs=0.01)


def test_a_short_sustained_run(command: Command, exported: Path, tmp_path: Path) -> None:
    words = (
        "--mode",
        "sustained",
        "--size",
        "80x60",
        "--threads",
        "1",
        "--min-duration",
        "0.5",
        "--warmup",
        "2",
    )
    assert command("benchmark", exported, *words, "--objects", "1", "-o", tmp_path).code == 0
    document = read(tmp_path)
    (run,) = document["runs"]
    assert sum(row["frames"] for row in run["sustained"]["bins"]) == run["frames"]
    assert "shorter than the rules want: 1024 frames and 60 s, 600 s when sustained" in document["warnings"]


def test_what_the_model_finds(command: Command, exported: Path, tmp_path: Path) -> None:
    done = command("benchmark", exported, *FAST, "--prompt", "red circle", "-o", tmp_path)
    assert done.code == 0
    document = read(tmp_path)
    assert document["phrases"] == ["red circle"] and document["runs"][0]["objects"] is None


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("--objects", "1,zero"), "--objects 1,zero: want numbers above 0"),
        (("--size", "80"), "--size 80: want WIDTHxHEIGHT"),
        (("--live", "5", "--mode", "cold"), "--live is of mode frame"),
        (("--mode", "hot"), "'hot' is not one of"),
    ],
)
def test_what_cannot_be_asked(command: Command, tmp_path: Path, words: tuple[str, ...], fact: str) -> None:
    done = command("benchmark", *words, "-o", tmp_path)
    assert done.code == 2 and fact in done.error


def test_a_report_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with pytest.raises(SourceError, match="cannot be read"):
        report.read(path)
    path.write_text(json.dumps({"kind": "else"}))
    with pytest.raises(CheckError, match="is no report"):
        report.read(path)
    path.write_text(json.dumps({"kind": report.KIND, "schema": 99}))
    with pytest.raises(CheckError, match="has schema 99, this version reads 1"):
        report.read(path)
