"""A report for people and for other programs: tables, Markdown, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import click

from sam3_edge import console
from sam3_edge.timing.percentiles import LEVELS, told
from sam3_edge.timing.report import label, runs_of

COLUMNS = (
    "machine",
    "bundle",
    "target",
    "scheme",
    "px",
    "mode",
    "objects",
    "n",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "fps",
    "peak MB",
    "MB/1000 frames",
    "commit",
)


def show(document: dict[str, Any]) -> None:
    """The tables of the terminal."""
    click.echo(title(document))
    if "cold" in document:
        show_cold(document["cold"])
    for run in runs_of(document):
        show_run(run)
    for warning in document["warnings"]:
        click.echo(f"warning: {warning}")


def title(document: dict[str, Any]) -> str:
    """A line on what was measured."""
    bundle, told = document["bundle"], document["machine"]
    where = ", ".join(str(told[key]) for key in ("model", "soc") if told[key]) or "unknown machine"
    words = f"{bundle['name']} ({bundle['target']}, {bundle['scheme']}, {bundle['image_size']} px) on {where}"
    return f"{words}; mode {document['mode']}{', quick' if document['quick'] else ''}"


def latency(summary: dict[str, Any]) -> str:
    """Percentiles in words, each with the bound that early stopping gives."""
    parts = []
    for level in LEVELS:
        one = summary[f"p{level}"]
        bound = "" if one["value"] is None else f" (at most {told(one, 'early_stopping')})"
        parts.append(f"p{level} {told(one)}{bound}")
    return f"n {summary['n']}, mean {summary['mean']:.1f} ms, " + ", ".join(parts)


def show_run(run: dict[str, Any]) -> None:
    """Latency, components and memory of one run."""
    rows = [
        (
            name,
            told(row["p50"], digits=2),
            told(row["p90"], digits=2),
            f"{row['mean']:.2f}",
            f"{row['share']:.1%}",
        )
        for name, row in run["components"]["rows"].items()
    ]
    rows.append(("unaccounted", "", "", "", f"{run['components']['unaccounted']:.1%}"))
    head = f"{label(run['objects'])}: {latency(run['latency_ms'])}"
    console.table(head, ("component", "p50 ms", "p90 ms", "mean ms", "of the frame"), rows, out=True)
    memory = run["memory"]
    grown = memory["growth_mb_per_1000_frames"]
    told_growth = "n/a (needs 100 frames)" if grown is None else f"{grown:+.2f} MB for 1000 frames"
    fps = "n/a" if run["fps"] is None else f"{run['fps']:.2f}"
    click.echo(
        f"{fps} frames a second, {run['processor_ms_per_frame']:.1f} ms of processor time each; "
        f"memory: peak {memory['peak_mb']:.0f} MB, growth {told_growth}"
    )
    if taken := run["energy"]:
        net = "n/a" if taken["net_j_per_frame"] is None else f"{taken['net_j_per_frame']:.3f}"
        click.echo(
            f"energy: {taken['j_per_frame']:.3f} J a frame, {net} J net of idling, "
            f"at {taken['rail']} ({taken['scope']})"
        )
    if live := run.get("live"):
        click.echo(
            f"live at {live['input_fps']:g} fps: {live['dropped_share']:.1%} dropped; age when done: "
            f"{latency(live['age_ms'])}"
        )
    if pace := run.get("sustained"):
        click.echo(paced(pace))


def paced(pace: dict[str, Any]) -> str:
    """The last minute by the first, in words."""
    return (
        f"first {pace['window_s']:g} s {pace['burst_ms']:.1f} ms, last {pace['sustained_ms']:.1f} ms: "
        f"ratio {pace['sustained_by_burst']}"
    )


def show_cold(found: dict[str, Any]) -> None:
    """The stages of a fresh process."""
    rows = [
        (name, f"{row['mean']:.0f}", f"{row['min']:.0f}", f"{row['max']:.0f}")
        for name, row in found["stages_ms"].items()
    ]
    head = f"fresh processes to the first masks: {latency(found['first_masks_ms'])}"
    console.table(head, ("stage", "mean ms", "min ms", "max ms"), rows, out=True)
    click.echo(f"memory: peak {found['peak_mb']:.0f} MB; page cache {found['page_cache']}")


def records(document: dict[str, Any]) -> list[dict[str, str]]:
    """A flat line for each run, by `COLUMNS`."""
    bundle = document["bundle"]
    common = {
        "machine": machine(document["machine"]),
        "bundle": bundle["name"],
        "target": bundle["target"],
        "scheme": bundle["scheme"],
        "px": str(bundle["image_size"]),
        "mode": document["mode"] + (" (quick)" if document["quick"] else ""),
        "commit": str(document["commit"] or ""),
    }
    if "cold" in document:
        found = document["cold"]
        return [
            common
            | numbers(found["first_masks_ms"])
            | {
                "objects": label(found["objects"]),
                "fps": "",
                "peak MB": f"{found['peak_mb']:.0f}",
                "MB/1000 frames": "",
            }
        ]
    return [common | numbers(run["latency_ms"]) | rest(run) for run in runs_of(document)]


def numbers(summary: dict[str, Any]) -> dict[str, str]:
    """n and the percentiles."""
    return {"n": str(summary["n"])} | {f"p{level} ms": told(summary[f"p{level}"]) for level in LEVELS}


def rest(run: dict[str, Any]) -> dict[str, str]:
    """What else a row says of a run."""
    memory = run["memory"]
    return {
        "objects": label(run["objects"]).split()[0],
        "fps": "" if run["fps"] is None else f"{run['fps']:.2f}",
        "peak MB": f"{memory['peak_mb']:.0f}",
        "MB/1000 frames": grown(memory["growth_mb_per_1000_frames"]),
    }


def machine(told: dict[str, Any]) -> str:
    """What a machine is called in a table."""
    return str(told["model"] or told["soc"] or "unknown")


def grown(megabytes: float | None) -> str:
    """Growth for 1000 frames."""
    return "n/a (needs 100)" if megabytes is None else f"{megabytes:+.2f}"


def receipt(found: dict[str, Any]) -> str:
    """How the bundle's masks compare with PyTorch's: mean and worst IoU, and objects that only one finds."""
    if found.get("mean_iou") is None:
        return ""
    apart = found["missing"] + found["extra"]
    words = f"{found['mean_iou']:.4f}, worst {found['min_iou']:.4f}, {found['objects']} objects"
    return words + (f", {apart} not in both" if apart else "")


def markdown(document: dict[str, Any], link: str = "report.json") -> str:
    """Rows to paste, each with a link to its JSON."""
    return as_markdown(COLUMNS, records(document), link)


def comma_separated(document: dict[str, Any]) -> str:
    """Rows for a spreadsheet."""
    return as_csv(COLUMNS, records(document))


def as_markdown(columns: Sequence[str], rows: Sequence[Mapping[str, str]], link: str) -> str:
    """A Markdown table, its last column a link to the JSON. What stands in a cell cannot end it."""
    lines = ["| " + " | ".join((*columns, "report")) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = (row[name].replace("|", "\\|") for name in columns)
        lines.append("| " + " | ".join(cells) + f" | [JSON]({link}) |")
    return "\n".join(lines) + "\n"


def as_csv(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """Comma-separated values with a line of names."""
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
