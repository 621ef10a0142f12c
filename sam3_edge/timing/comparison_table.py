"""A comparison for people and for other programs: latency, memory, size and accuracy on one row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from sam3_edge import console
from sam3_edge.timing import tables
from sam3_edge.timing.ratio import Ratio
from sam3_edge.timing.report import label

COLUMNS = (
    "bundle",
    "machine",
    "target",
    "scheme",
    "px",
    "size MB",
    "objects",
    "n",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "time by the first's",
    "latency",
    "processor time by the first's",
    "peak MB",
    "MB/1000 frames",
    "IoU with PyTorch",
    "score",
    "accuracy",
)
# What has room on a terminal: in two tables.
FAST = ("bundle", "machine", "objects", *COLUMNS[COLUMNS.index("n") : COLUMNS.index("peak MB")])
GOOD = ("bundle", "objects", "target", "scheme", "px", "size MB", *COLUMNS[COLUMNS.index("peak MB") :])
HEADLINES = ("cg_f1", "j_and_f", "ap")  # more is better


def records(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """A flat line for each row, by `COLUMNS`."""
    return [record(document, row) for row in document["rows"]]


def record(document: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, str]:
    side = document["sides"][row["side"]]
    bundle = side["bundle"]
    return {
        "bundle": bundle["name"],
        "machine": tables.machine(side.get("machine") or document["machine"]),
        "target": bundle["target"],
        "scheme": bundle["scheme"],
        "px": str(bundle["image_size"]),
        "size MB": f"{bundle['megabytes']:.1f}",
        "objects": label(row["objects"]).split()[0],
        **tables.numbers(row["latency_ms"]),
        "time by the first's": told(row["ratio"]),
        "latency": row["verdict"] or row["why"] or "",
        "processor time by the first's": told(row["processor_ratio"]),
        "peak MB": f"{row['peak_mb']:.0f}",
        "MB/1000 frames": tables.grown(row["growth_mb_per_1000_frames"]),
        "IoU with PyTorch": tables.receipt(bundle["receipt"]),
        **accuracy(side.get("eval")),
    }


def accuracy(judged: Mapping[str, Any] | None) -> dict[str, str]:
    """The score that says most, its interval, and better or worse than the first where the cases say so."""
    if judged is None:
        return {"score": "", "accuracy": ""}
    name = next(name for name in HEADLINES if name in judged["scores"])
    score = judged["scores"][name]
    ends = "" if score["interval"] is None else " ({:.3f}-{:.3f})".format(*score["interval"])
    value = "n/a" if score["value"] is None else f"{score['value']:.3f}{ends}"
    return {"score": f"{name} {value}", "accuracy": against(score["difference_interval"])}


def against(difference: tuple[float, float] | None) -> str:
    """What the interval of a difference says."""
    if difference is None:
        return ""
    low, high = difference
    if low <= 0 <= high:
        return f"within the noise ({low:+.3f} to {high:+.3f})"
    return f"{'better' if low > 0 else 'worse'} ({low:+.3f} to {high:+.3f})"


def told(ratio: Mapping[str, float] | None) -> str:
    return "" if ratio is None else str(Ratio(**ratio))


def show(document: Mapping[str, Any]) -> None:
    """The tables of the terminal, without the columns in which nothing is told."""
    rows = records(document)
    title = f"Measured {document['how']}; the first is what the others are compared with"
    for heading, names in ((title, FAST), ("The same: memory, size and accuracy", GOOD)):
        columns = [name for name in names if any(row[name] for row in rows)]
        console.table(heading, columns, [[row[name] for name in columns] for row in rows], out=True)
    for side in document["sides"]:
        for warning in side["warnings"]:
            click.echo(f"warning: {side['bundle']['name']}: {warning}")
    for warning in document["warnings"]:
        click.echo(f"warning: {warning}")
