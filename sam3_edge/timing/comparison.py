"""Several bundles or reports beside each other: the first is what the others are compared with.

Bundles are measured here, in turns. Reports were measured apart, so that what changed on the machine
meanwhile is in no interval: the verdict on them asks for a larger difference.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from sam3_edge import console
from sam3_edge.bundle import Bundle
from sam3_edge.errors import UsageError
from sam3_edge.judge.datasets import AnySet
from sam3_edge.judge.evaluation import Job, judge
from sam3_edge.machine.command import redacted
from sam3_edge.machine.identity import commit, identity
from sam3_edge.timing import growth
from sam3_edge.timing.percentiles import Summary
from sam3_edge.timing.ratio import Ratio, interval, unpaired
from sam3_edge.timing.report import bundle_facts, label
from sam3_edge.timing.running import Plan
from sam3_edge.timing.turns import LEAST_ROUNDS, Rounds, Turn, in_turns

KIND, SCHEMA = "sam3-edge comparison", 1
# How a process lies in memory can make it slower for as long as it lives: no round shows that.
IN_TURNS, APART = 0.02, 0.05
BLOCKS = 16  # of a report's frames: what changes slowly is so within the interval


@dataclass(frozen=True)
class Side:
    """One bundle as it was measured: `pieces` are its mean milliseconds turn by turn or block by block."""

    objects: int | None
    samples: tuple[float, ...]  # milliseconds of each frame
    pieces: tuple[float, ...]
    peak_mb: float
    growth: float | None  # MB for 1000 frames
    processor: tuple[float, ...] = ()  # milliseconds of a frame, turn by turn

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "objects": self.objects,
            "latency_ms": Summary.of(self.samples).to_json(),
            "peak_mb": round(self.peak_mb, 1),
            "growth_mb_per_1000_frames": None if self.growth is None else round(self.growth, 3),
            "pieces_ms": [round(piece, 3) for piece in self.pieces],
            "samples_ms": [round(sample, 3) for sample in self.samples],
        }


def compare_bundles(plans: Sequence[Plan], rounds: Rounds, dataset: AnySet | None = None) -> dict[str, Any]:
    """Measure all bundles in turns, and judge them on a dataset if there is one.

    The plans differ in their bundle only. Raises what `in_turns` and `judge` raise.
    """
    check_count(len(plans))
    first = plans[0]
    sides = [{"bundle": bundle_facts(Bundle.open(plan.bundle)), "warnings": []} for plan in plans]
    rows: list[dict[str, Any]] = []
    for count in first.counts:
        with console.progress(label(count), rounds.rounds) as advance:
            turns = in_turns(plans, count, rounds, advance=advance)
        rows += compared([of_turns(count, mine) for mine in turns], paired=True)
    if dataset is not None:
        for side, scores in zip(sides, judged(plans, dataset), strict=True):
            side["eval"] = scores
    how = {"how": "in turns", "rounds": rounds.rounds, "frames_a_turn": rounds.frames, "margin": IN_TURNS}
    here = {"machine": identity(), "clip": first.shot().to_json(), "threads": first.threads}
    warned = ["quick: shorter than a run whose numbers may be published"] if first.quick else []
    return head() | how | here | {"sides": sides, "rows": rows, "warnings": warned}


def check_count(count: int) -> None:
    """Raises `UsageError` for fewer than two."""
    if count < 2:
        raise UsageError("one alone is compared with nothing: give two bundles or more, or two reports")


def head() -> dict[str, Any]:
    """What every comparison begins with."""
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": redacted([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit(),
    }


def of_turns(count: int | None, turns: Sequence[Turn]) -> Side:
    """All turns of one bundle."""
    grown = growth.slope([reading for turn in turns for reading in turn.resident])
    return Side(
        count,
        tuple(1e3 * second for turn in turns for second in turn.seconds),
        tuple(1e3 * float(np.mean(turn.seconds)) for turn in turns),
        turns[-1].peak_mb,
        grown,
        tuple(1e3 * turn.processor / len(turn.seconds) for turn in turns),
    )


def compared(
    sides: Sequence[Side], *, paired: bool, unlike: Sequence[str | None] = ()
) -> list[dict[str, Any]]:
    """A row for each side, with its time by that of the first. `unlike`: why a side is not like the first."""
    first, rows = sides[0], []
    for place, side in enumerate(sides):
        row: dict[str, Any] = {"side": place, **side.to_json(), "ratio": None, "processor_ratio": None}
        row |= {"memory_ratio": None, "verdict": None, "why": None}
        if place:
            ratio = ratio_of(side.pieces, first.pieces, paired=paired)
            margin = IN_TURNS if paired else APART
            row |= {
                "ratio": ratio and ratio.to_json(),
                "memory_ratio": round(side.peak_mb / first.peak_mb, 3),
            }
            why = unlike[place] if unlike else None
            row |= verdict(ratio, margin, why)
            used = ratio_of(side.processor, first.processor, paired=paired)
            row["processor_ratio"] = used and used.to_json()
        rows.append(row)
    return rows


def ratio_of(mine: Sequence[float], first: Sequence[float], *, paired: bool) -> Ratio | None:
    """Mine by the first's; None of too few pieces."""
    if min(len(mine), len(first)) < LEAST_ROUNDS:
        return None
    return interval(np.asarray(mine) / np.asarray(first)) if paired else unpaired(mine, first)


def verdict(ratio: Ratio | None, margin: float, unlike: str | None) -> dict[str, Any]:
    """Faster or slower only where the whole interval says so, by more than the margin; else why not."""
    if unlike is not None:
        return {"why": unlike}
    if ratio is None:
        return {"why": f"n/a (needs {LEAST_ROUNDS} pieces)"}
    if not ratio.outside(margin):
        return {"why": f"within the noise of {margin:.0%}"}
    return {"verdict": "faster" if ratio.median < 1 else "slower"}


def judged(plans: Sequence[Plan], dataset: AnySet) -> list[dict[str, Any]]:
    """Each bundle's scores on the dataset, and how far they are from the first's, case by case."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "first.json"
        for place, plan in enumerate(plans):
            job = Job(dataset, plan.bundle, tags=(), threads=plan.threads)
            job = replace(job, reference=kept) if place else replace(job, save=kept)
            found.append(scores_of(judge(job).to_json()))
    return found


def scores_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a comparison keeps of a report of `eval`: the scores of all cases."""
    whole = report["strata"][0]
    return {"dataset": report["dataset"], "cases": whole["cases"], "scores": whole["scores"]}
