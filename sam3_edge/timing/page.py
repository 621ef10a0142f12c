"""A report as one HTML file: everything is in it, so it opens with no network, and nothing in it runs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from sam3_edge.timing import charts, tables
from sam3_edge.timing.percentiles import LEVELS
from sam3_edge.timing.report import label, runs_of

STYLE = """
:root { color-scheme: light }
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2833; background: #fff; max-width: 780px;
  margin: 24px auto; padding: 0 16px }
h1 { font-size: 22px } h2 { font-size: 18px; margin-top: 32px } h3 { font-size: 15px; margin-bottom: 4px }
table { border-collapse: collapse; font-size: 14px } td, th { padding: 3px 12px 3px 0; text-align: left;
  vertical-align: top; white-space: nowrap } td:last-child { white-space: normal; overflow-wrap: anywhere }
th { font-weight: 600 } .wide { overflow-x: auto }
.warning { background: #fcf3cf; border-left: 4px solid #b7950b; padding: 4px 10px; margin: 6px 0 }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif } svg text { fill: #1c2833 }
.bin, .bar { fill: #2471a3 } .curve { fill: none; stroke: #2471a3; stroke-width: 1.5 }
.mark { stroke: #c0392b } .base { stroke: #1c2833 } pre { white-space: pre-wrap; overflow-wrap: anywhere }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
MACHINE = ("model", "soc", "cores", "memory_mb", "os", "l4t", "jetpack", "power_mode")


def page(document: dict[str, Any]) -> str:
    """The whole file. `document` as `benchmark` makes it."""
    title = escape(tables.title(document))
    parts = [f"<h1>{title}</h1>", *(warned(words) for words in document["warnings"]), numbers(document)]
    if "cold" in document:
        parts.append(cold(document["cold"]))
    parts += [run(one) for one in runs_of(document)]
    parts += [facts(document), "<h2>Machine, before and after</h2>", raw(document)]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>"
    )
    return "\n".join((head, *parts, "</body></html>")) + "\n"


def warned(words: str) -> str:
    return f'<p class="warning">{escape(words)}</p>'


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table; every cell is escaped here."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    lines = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def numbers(document: dict[str, Any]) -> str:
    """The rows of `row.md`, but for what the title says."""
    columns = tables.COLUMNS[tables.COLUMNS.index("objects") : -1]
    return table(columns, ([record[name] for name in columns] for record in tables.records(document)))


def run(found: dict[str, Any]) -> str:
    """The charts of one run."""
    latency = found["latency_ms"]
    marks = {f"p{level}": latency[f"p{level}"]["value"] for level in LEVELS}
    means = {name: row["mean"] for name, row in found["components"]["rows"].items()}
    parts = [f"<h2>{escape(label(found['objects']))}</h2><p>{escape(tables.latency(latency))}</p>"]
    parts += ["<h3>All frames</h3>", charts.spread(found["samples_ms"], known(marks))]
    parts += ["<h3>In a frame</h3>", charts.bars(means)]
    if pace := found.get("sustained"):
        parts += ["<h3>Second by second: the median frame</h3>"]
        parts += [charts.curve([one["p50_ms"] for one in pace["bins"]], "ms", "median frame of every second")]
        parts += [f"<p>{escape(tables.paced(pace))}</p>"]
    return "\n".join(parts)


def known(marks: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in marks.items() if value is not None}


def cold(found: dict[str, Any]) -> str:
    """The stages of fresh processes."""
    means = {name: row["mean"] for name, row in found["stages_ms"].items()}
    words = tables.latency(found["first_masks_ms"])
    return f"<h2>Fresh processes to the first masks</h2><p>{escape(words)}</p>{charts.bars(means)}"


def facts(document: dict[str, Any]) -> str:
    """What was measured, on what, how."""
    bundle, clip, machine = document["bundle"], document["clip"], document["machine"]
    rows: list[tuple[str, object]] = [
        ("command", shlex.join(document["command"])),
        ("commit", document["commit"]),
        ("time", document["utc"]),
        ("bundle", f"{bundle['source']}, {bundle['megabytes']} MB, sha256 {bundle['sha256']}"),
        (
            "clip",
            f"{clip['name']}, {clip['width']}x{clip['height']} {clip['codec']}, sha256 {clip['sha256']}",
        ),
        ("clock", document["clock"]),
        *((name, machine[name]) for name in MACHINE if machine.get(name) is not None),
    ]
    return f"<h2>What was measured</h2>{table(('', ''), rows)}"


def raw(document: dict[str, Any]) -> str:
    """All that the machine told."""
    told = {name: document[name] for name in ("machine", "before", "after")}
    return f"<details><summary>As it told</summary><pre>{escape(json.dumps(told, indent=1))}</pre></details>"
