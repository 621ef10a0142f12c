"""The README's tables are what the committed JSON says, and a report of another machine fills its row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sam3_edge.benchmarks import readme
from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle
from sam3_edge.timing.page import page
from sam3_edge.timing.percentiles import Summary
from sam3_edge.timing.report import read, runs_of
from sam3_edge.timing.tables import markdown

ROOT = Path(__file__).parents[1]
DEVICES = ROOT / "benchmarks/results/devices"


@pytest.mark.parametrize("page", readme.PAGES)
def test_pages_are_what_the_command_writes(page: str) -> None:
    assert readme.filled(page, ROOT) == (ROOT / page).read_text(), "python -m sam3_edge.benchmarks.readme"


def test_reports_of_the_builtin_model_are_of_what_ships() -> None:
    modes = {}
    for path in DEVICES.glob("*/report.json"):
        document = read(path)
        assert (path.parent / "report.html").read_text() == page(document)
        assert (path.parent / "row.md").read_text() == markdown(document)
        for run in runs_of(document):
            assert Summary.of(run["samples_ms"]).to_json()["p50"] == run["latency_ms"]["p50"]
            assert run["components"]["unaccounted"] < 0.05
        if document["bundle"]["name"] == "shapes":
            assert document["bundle"]["sha256"] == Bundle.open(builtin_bundle()).hash, (
                f"{path}: measure again"
            )
            modes[document["mode"]] = document
    assert modes.keys() >= {"frame", "component", "cold"}


def test_a_report_fills_the_row_of_its_machine(tmp_path: Path) -> None:
    results = tmp_path / readme.RESULTS
    folder = results / "devices" / "orin"
    folder.mkdir(parents=True)
    (results / "judge.json").write_text((ROOT / readme.RESULTS / "judge.json").read_text())
    document = read(DEVICES / "shapes-cold" / "report.json")
    document["machine"]["model"] = "NVIDIA Jetson Orin Nano Super | 8 GB"
    (folder / "report.json").write_text(json.dumps(document))
    head, _, row, *empty = readme.devices(tmp_path).splitlines()
    cells = [cell.strip() for cell in row.replace("\\|", "/").split("|")[1:-1]]
    told = dict(zip(readme.HEAD, cells, strict=True))
    assert told["machine"] == "NVIDIA Jetson Orin Nano Super / 8 GB"
    assert told["median ms"] == f"{document['cold']['first_masks_ms']['p50']['value']:.1f}"
    assert told["cgF1, frozen pictures"].startswith("0.") and told["report"].endswith("orin/report.json)")
    assert len(empty) == len(readme.WANTED) - 1 and not any("Orin Nano" in line for line in empty)
    assert all(line.count("|") == head.count("|") and line.count("|  ") >= 11 for line in empty)
