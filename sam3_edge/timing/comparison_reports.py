"""Reports of `benchmark` beside each other, each with the `eval.json` that lies beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sam3_edge.errors import CheckError, UsageError
from sam3_edge.timing.comparison import APART, BLOCKS, Side, check_count, compared, head, scores_of
from sam3_edge.timing.output import REPORT
from sam3_edge.timing.report import read, runs_of

EVAL = "eval.json"
# What must be alike for a verdict; and what it is called.
ALIKE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "machine": lambda it: [it["machine"].get(name) for name in ("model", "soc", "cores", "memory_mb")],
    "clip": lambda it: it["clip"]["sha256"],
    "number of threads": lambda it: it["threads"],
    "device": lambda it: it["device"],
}


def compare_reports(paths: Sequence[Path]) -> dict[str, Any]:
    """Reports, files or their folders, joined. Raises what `read` raises, and `UsageError` for two modes."""
    check_count(len(paths))
    files = [path / REPORT if path.is_dir() else path for path in paths]
    documents = [read(file) for file in files]
    modes = {document["mode"] for document in documents}
    if len(modes) > 1:
        raise UsageError(f"reports of the modes {' and '.join(sorted(modes))}: compare those of one mode")
    sides = [side_of(file, document) for file, document in zip(files, documents, strict=True)]
    unlike = [unlikeness(document, documents[0]) for document in documents]
    measured = [measured_in(document) for document in documents]
    rows: list[dict[str, Any]] = []
    for objects in dict.fromkeys(objects for mine in measured for objects in mine):
        there = {place: mine[objects] for place, mine in enumerate(measured) if objects in mine}
        if 0 in there:
            made = compared(list(there.values()), paired=False, unlike=[unlike[place] for place in there])
        else:
            made = [alone(side) for side in there.values()]
        rows += [row | {"side": place} for row, place in zip(made, there, strict=True)]
    how = {"how": "apart", "mode": modes.pop(), "margin": APART}
    return head() | how | {"sides": sides, "rows": rows, "warnings": []}


def alone(side: Side) -> dict[str, Any]:
    """The row of a run that the first report lacks."""
    return compared([side], paired=False)[0] | {"why": "the first has no such run"}


def side_of(file: Path, document: dict[str, Any]) -> dict[str, Any]:
    """What a comparison keeps of a report. Raises `CheckError` if its `eval.json` is of another bundle."""
    kept = {name: document[name] for name in ("bundle", "machine", "clip", "commit", "quick", "warnings")}
    scored, found = file.parent / EVAL, None
    if scored.is_file():
        report = json.loads(scored.read_bytes())
        if report.get("bundle") != document["bundle"]["sha256"]:
            raise CheckError(f"{scored} judges another bundle than {file} measures: run eval on that bundle")
        found = scores_of(report)
    return {"report": str(file), **kept, "eval": found}


def unlikeness(document: dict[str, Any], first: dict[str, Any]) -> str | None:
    """Why no verdict can be given beside the first report; None if one can."""
    unlike = [name for name, told in ALIKE.items() if told(document) != told(first)]
    return f"another {' and '.join(unlike)}" if unlike else None


def measured_in(document: dict[str, Any]) -> dict[int | None, Side]:
    """By the number of objects."""
    if "cold" in document:
        found = document["cold"]
        samples = [one["first_masks_ms"] for one in found["processes"]]
        return {
            found["objects"]: Side(found["objects"], tuple(samples), tuple(samples), found["peak_mb"], None)
        }
    return {run["objects"]: of_run(run) for run in runs_of(document)}


def of_run(run: dict[str, Any]) -> Side:
    """One run, its frames in blocks."""
    samples, memory = run["samples_ms"], run["memory"]
    blocks = [block for block in np.array_split(np.asarray(samples, np.float64), BLOCKS) if len(block)]
    pieces = tuple(float(block.mean()) for block in blocks)
    return Side(
        run["objects"], tuple(samples), pieces, memory["peak_mb"], memory["growth_mb_per_1000_frames"]
    )
