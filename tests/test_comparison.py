"""Comparisons: a verdict only where the samples bear one, of what is alike, with accuracy on the row."""

from __future__ import annotations

import copy
import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command
from test_eval import frozen_set

from sam3_edge.alone import answering
from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError, ResourceError, UsageError
from sam3_edge.judge.datasets import open_dataset
from sam3_edge.timing.comparison import APART, IN_TURNS, Side, compared, judged
from sam3_edge.timing.comparison_reports import compare_reports
from sam3_edge.timing.comparison_table import against, records
from sam3_edge.timing.ratio import interval, unpaired
from sam3_edge.timing.report import benchmark, dumped
from sam3_edge.timing.running import Plan
from sam3_edge.timing.turns import Rounds, Turn, Worker, following, in_turns, working

WORDS = ("--size", "80x60", "--threads", "1", "--warmup", "1", "--rounds", "6", "--frames", "2")


def side(pieces: Any) -> Side:
    values = tuple(float(piece) for piece in pieces)
    return Side(1, values, values, 100.0, None, values)


def second(*sides: Side, paired: bool = True) -> dict[str, Any]:
    return compared(sides, paired=paired)[1]


def test_what_slows_both_down_cancels_out() -> None:
    weather = np.array([1, 1, 1, 5, 5, 5, 2, 2, 9, 9])
    row = second(side(100 * weather), side(80 * weather))
    assert row["verdict"] == "faster" and row["ratio"] == {"median": 0.8, "low": 0.8, "high": 0.8}
    assert row["processor_ratio"] == row["ratio"] and row["memory_ratio"] == 1.0
    apart = second(side(100 * weather), side(np.roll(80 * weather, 3)), paired=False)
    assert apart["verdict"] is None and apart["why"] == "within the noise of 5%"
    assert second(side([100] * 8), side([130] * 8), paired=False)["verdict"] == "slower"


@pytest.mark.parametrize(("paired", "margin"), [(True, IN_TURNS), (False, APART)])
def test_no_verdict_within_the_margin(paired: bool, margin: float) -> None:
    for sign in (1, -1):
        near, far = ((1 + part * margin) ** sign for part in (0.9, 1.1))
        assert second(side([100.0] * 8), side([100 * near] * 8), paired=paired)["verdict"] is None
        assert second(side([100.0] * 8), side([100 * far] * 8), paired=paired)["verdict"] is not None


def test_a_bundle_is_seldom_faster_than_itself() -> None:
    rng = np.random.default_rng(0)
    drawn = (100 * np.exp(rng.normal(0, 0.05, (2, 16))) for _ in range(200))
    verdicts = [second(side(a), side(b))["verdict"] for a, b in drawn]
    assert sum(verdict is not None for verdict in verdicts) <= 10


def test_a_real_difference_is_seen() -> None:
    rng = np.random.default_rng(1)
    drawn = (100 * np.exp(rng.normal(0, 0.05, (2, 16))) for _ in range(100))
    verdicts = [second(side(a), side(1.2 * b))["verdict"] for a, b in drawn]
    assert verdicts.count("slower") >= 95
    assert unpaired([2.0] * 9, [1.0] * 7).median == 2 and interval(np.full(6, 0.5)).outside(0.9)


def test_too_few_pieces_give_no_ratio() -> None:
    row = second(side([1] * 5), side([9] * 5))
    assert row["ratio"] is None and row["why"] == "n/a (needs 6 pieces)"
    with pytest.raises(UsageError, match="5 rounds give no interval"):
        Rounds(5, 1)


def test_bundles_take_turns_in_processes_of_their_own(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    @contextmanager
    def noted(name: str, *arguments: Any) -> Iterator[Worker]:
        def turn(frames: int) -> Turn:
            order.append(name)
            return worker(frames)

        with working(name, *arguments) as worker:
            yield turn

    monkeypatch.setattr("sam3_edge.timing.turns.working", noted)
    places = (exported, Path(f"{exported}/../{exported.name}"))
    plans = [Plan(place, size=(60, 80), warmup=1, threads=1) for place in places]
    found = in_turns(plans, 1, Rounds(6, 2))
    assert [len(one) for one in found] == [6, 6]
    for turn in (turn for one in found for turn in one):
        assert len(turn.seconds) == len(turn.resident) == 2 and min(turn.seconds) > 0
        assert turn.processor > 0 and turn.peak_mb > 20
    a, b = (str(plan.bundle) for plan in plans)
    assert order == [a, b, b, a] * 3


def test_a_process_that_fails_or_dies(exported: Path) -> None:
    with pytest.raises(UsageError, match="this bundle finds"):
        working("x", following, Plan(exported), 10_000).__enter__()
    with answering("x", dying) as ask, pytest.raises(ResourceError, match="x: its process ended"):
        ask(0)


@contextmanager
def dying() -> Iterator[Any]:
    yield os._exit


def test_bundles(command: Command, exported: Path, exported_half: Path, tmp_path: Path) -> None:
    words = ("compare", exported, exported_half, *WORDS, "--prompt", "red shape")
    done = command(*words, "-o", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    document = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert document == done.document and document["how"] == "in turns"
    first, other = records(document)
    assert (first["bundle"], other["bundle"]) == (exported.name, exported_half.name)
    assert first["n"] == other["n"] == "12" and first["time by the first's"] == ""
    assert other["time by the first's"] and other["processor time by the first's"]
    assert float(other["size MB"]) < float(first["size MB"])
    assert "worst" in other["IoU with PyTorch"] and first["score"] == ""
    head, _, *lines = (tmp_path / "out" / "row.md").read_text().splitlines()
    assert all(line.count("|") == head.count("|") and "[JSON](comparison.json)" in line for line in lines)
    again = command(*words, "-o", tmp_path / "out")
    assert again.code == 2 and "comparison.json exists: pass --overwrite" in again.error


def test_bundles_are_judged_against_the_first(monkeypatch: pytest.MonkeyPatch, exported: Path) -> None:
    frozen_set(monkeypatch)
    plans = [Plan(exported, threads=1)] * 2
    first, other = (found["scores"] for found in judged(plans, open_dataset(("shapes",))))
    assert first["il_mcc"]["difference"] is None
    assert "no_regression" in other.keys() - first.keys()  # it takes two
    for name, score in first.items():
        assert other[name]["value"] == other[name]["reference"] == score["value"], name


@pytest.fixture(scope="module")
def measured(exported: Path) -> dict[str, Any]:
    """A real report, of a few frames."""
    return benchmark(Plan(exported, objects=(1,), size=(60, 80), frames=3, seconds=0, warmup=1, threads=1))


def kept(document: dict[str, Any], folder: Path, samples: Any, **other: Any) -> Path:
    """The report with these samples, in a folder."""
    made = copy.deepcopy(document) | other
    made["runs"][0]["samples_ms"] = [float(sample) for sample in samples]
    folder.mkdir()
    (folder / "report.json").write_text(dumped(made))
    return folder


def test_reports(command: Command, measured: dict[str, Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    first = kept(measured, tmp_path / "a", rng.normal(100, 5, 400))
    same = kept(measured, tmp_path / "b", rng.normal(100, 5, 500))
    slower = kept(measured, tmp_path / "c", rng.normal(150, 5, 300))
    there = kept(
        measured, tmp_path / "d", rng.normal(20, 1, 300), machine={**measured["machine"], "model": "Board|1"}
    )
    done = command(
        "compare", first, same, slower / "report.json", there, "-o", tmp_path / "out", "--format", "csv"
    )
    assert done.code == 0, done.err
    rows = list(csv.DictReader(io.StringIO(done.out)))
    verdicts = ["", "within the noise of 5%", "slower", "another machine"]
    assert [row["latency"] for row in rows] == verdicts
    assert float(rows[2]["time by the first's"].split()[0]) == pytest.approx(1.5, abs=0.05)
    assert rows[3]["machine"] == "Board|1"
    shown = command("compare", first, slower, "-o", tmp_path / "more")
    assert (
        "Measured apart" in shown.out and "quick" not in shown.out and "shorter than the rules" in shown.out
    )
    assert "Board\\|1" in (tmp_path / "out" / "row.md").read_text()


def test_reports_with_their_accuracy(measured: dict[str, Any], exported: Path, tmp_path: Path) -> None:
    first, other = (kept(measured, tmp_path / name, [100] * 64) for name in "ab")
    score = {"value": 0.5, "interval": [0.4, 0.6], "difference_interval": None}
    report = {"dataset": "shapes", "strata": [{"cases": 9, "scores": {"cg_f1": score}}]}
    report["bundle"] = Bundle.open(exported).hash
    (first / "eval.json").write_text(json.dumps(report))
    rows = records(compare_reports([first, other]))
    assert [row["score"] for row in rows] == ["cg_f1 0.500 (0.400-0.600)", ""]
    (other / "eval.json").write_text(json.dumps(report | {"bundle": "0" * 64}))
    with pytest.raises(CheckError, match="judges another bundle than"):
        compare_reports([first, other])


def test_what_an_interval_of_scores_says() -> None:
    assert against((0.01, 0.02)).startswith("better") and against((-0.2, -0.1)).startswith("worse")
    assert against((-0.1, 0.1)) == "within the noise (-0.100 to +0.100)" and against(None) == ""


def test_runs_that_the_first_has_not(measured: dict[str, Any], tmp_path: Path) -> None:
    more = copy.deepcopy(measured)
    more["runs"].append(copy.deepcopy(more["runs"][0]) | {"objects": 5})
    paths = [
        kept(it, tmp_path / name, [100] * 64) for it, name in ((measured, "a"), (more, "b"), (more, "c"))
    ]
    rows = compare_reports(paths)["rows"]
    assert [(row["objects"], row["side"]) for row in rows] == [(1, 0), (1, 1), (1, 2), (5, 1), (5, 2)]
    assert rows[4]["verdict"] is None and rows[4]["why"] == "the first has no such run"
    assert rows[4]["ratio"] is None


def test_what_cannot_be_compared(
    command: Command, measured: dict[str, Any], exported: Path, tmp_path: Path
) -> None:
    first = kept(measured, tmp_path / "a", [100] * 64)
    other = kept(measured, tmp_path / "b", [100] * 64, mode="component")
    for words, code, fact in (
        ((first,), 2, "one alone is compared with nothing"),
        ((exported,), 2, "one alone is compared with nothing"),
        ((first, other), 2, "reports of the modes component and frame"),
        ((first, exported), 2, f"{exported} is a bundle, {first} is none"),
        ((first, first, "--threads", "1"), 2, "--threads is of bundles"),
        ((first, tmp_path / "none"), 3, "cannot be read"),
        ((exported, exported, "--rounds", "3"), 2, "3 rounds give no interval"),
    ):
        done = command("compare", *words, "-o", tmp_path / "out")
        assert done.code == code and fact in done.error, (words, done.err)
    assert not (tmp_path / "out").exists()
