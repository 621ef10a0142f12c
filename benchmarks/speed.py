"""Ours against `transformers`, in turns: `python -m sam3_edge.benchmarks.speed`.

The same random weights on both sides, each in a process of its own, and a row counts only if both gave the
same answers. Bundles are exported on the way, compared with PyTorch as every bundle is, and kept.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from sam3_edge import console
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.spec import ModelConfig

from . import speed_ours, speed_theirs
from .document import errors_told, write_document
from .machine import facts
from .markdown import table
from .paired import Comparison, compare, shell
from .speed_models import POOL, Place
from .turns import Side, side

# What each row is measured with: memory attention alone is not compressed, and a picture has no memories.
ROWS = {
    "attention": ("plain", "fused", "pooled"),
    "picture": ("plain", "fused", "w8"),
    "frame": ("plain", "fused", "pooled", "w8", "w8-pooled"),
    "start": ("plain", "fused", "w8"),
}
SAME, POOLED = ("plain", "fused"), ("pooled", "w8-pooled")
THEIRS, OURS = "transformers", "sam3-edge"
OBJECTS = 5
# Ours gives the detector a token of the picture, which theirs leaves out where there are no boxes.
CHECKED = {"picture": "check picture"}
# Relative to all values of an output. Masks of the tracker come out of seven layers on top of the trunk's 32.
EQUAL = {"seen": 1e-4, "boxes": 1e-3, "logits": 1e-3, "mask": 1e-3}
NEAR = 0.05  # int8 weights, any output: the trunk's feature alone is off by 0.014 (quantize_full.json)
# Theirs / ours: processor seconds at least; where a row has one, peak memory of ours / theirs at most.
TARGETS = {
    ("attention", 1008): (1.3, None),
    ("picture", 336): (1.0, None),
    ("picture", 1008): (1.0, 0.7),
    ("frame", 1008): (1.15, None),
    ("start", 336): (3.0, None),
    ("start", 1008): (3.0, None),
}
KIND_TARGETS = {("picture", 1008, "w8"): (1.5, 0.45), ("frame", 1008, "w8-pooled"): (2.0, None)}


@dataclass(frozen=True)
class Row:
    """One line of the table: what is run, at which image size in pixels, and which bundle of ours."""

    name: str
    size: int
    kind: str

    def __str__(self) -> str:
        return f"{self.name} {self.size} px, {self.kind}"

    @property
    def target(self) -> tuple[float | None, float | None]:
        """The least ratio of processor time, and the most of memory."""
        if self.kind in SAME:
            return TARGETS.get((self.name, self.size), (None, None))
        return KIND_TARGETS.get((self.name, self.size, self.kind), (None, None))

    def limit(self, output: str) -> float:
        """How far an output may be from theirs, relative to all its values."""
        if self.kind in POOLED:
            return math.inf
        return EQUAL[output] if self.kind in SAME else NEAR


Began = AbstractContextManager[Side]


def sides(row: Row, place: Place) -> tuple[Began, Began]:
    """Theirs and ours."""
    if row.name == "attention":
        config = replace(place.config, memory_pool=POOL) if row.kind == "pooled" else place.config
        ours = side(OURS, speed_ours.attention, config, row.kind != "plain", place.threads)
        return side(THEIRS, speed_theirs.attention, place.config, place.threads), ours
    objects = OBJECTS if row.name == "frame" else 0
    theirs = side(THEIRS, speed_theirs.whole, place.theirs(), place.config, objects, place.threads)
    return theirs, side(OURS, speed_ours.whole, place.bundle(row.kind), objects, place.threads)


def measure(row: Row, place: Place, pairs: int) -> dict[str, Any]:
    """One row. Raises `CheckError` for answers that differ; pooled memories are another computation."""
    if row.name == "start":
        return told(row, start(row, place, pairs))
    begin_theirs, begin_ours = sides(row, place)
    with begin_theirs as theirs, begin_ours as ours:
        errors = differences(*(one.ask(CHECKED.get(row.name, row.name))[1] for one in (theirs, ours)))
        if bad := {n: e for n, e in errors.items() if not e <= row.limit(n)}:
            raise CheckError(f"{row}: answers differ from PyTorch's by {bad}")
        found = compare(
            lambda: theirs.timed(row.name),
            lambda: ours.timed(row.name),
            pairs=pairs,
            clock=lambda task: task(),
        )
        peaks = {"theirs": round(theirs.peak_gb(), 2), "ours": round(ours.peak_gb(), 2)}
    return told(row, found) | {"differs": errors, "peak_gb": peaks}


def start(row: Row, place: Place, pairs: int) -> Comparison:
    """From no process to one that has loaded all that a frame needs."""
    begin = {
        "theirs": f"from sam3_edge.benchmarks.speed_theirs import ready; ready({str(place.theirs())!r})",
        "ours": f"from sam3_edge.benchmarks.speed_ours import ready; ready({str(place.bundle(row.kind))!r})",
    }
    theirs, ours = (shell(f'{sys.executable} -c "{begin[side]}"') for side in ("theirs", "ours"))
    return compare(theirs, ours, pairs=pairs)


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, float]:
    """Relative errors of what both gave."""
    norm = np.linalg.norm
    return {
        name: float(norm(ours[name] - want) / norm(want)) for name, want in theirs.items() if name in ours
    }


def told(row: Row, found: Comparison) -> dict[str, Any]:
    """A row of the document."""
    document = found.to_json()
    machine = document.pop("machine")
    return {
        "row": str(row),
        "target": row.target,
        **document,
        "machine": machine | facts("torch", "onnxruntime", "transformers"),
    }


def failures(row: dict[str, Any]) -> list[str]:
    """What misses its target, in words."""
    least, most = row["target"]
    ratio, peaks = row["ratio"]["processor"]["median"], row.get("peak_gb")
    bad = [f"{row['row']}: {ratio:.2f} times as fast, want {least}"] if least and ratio < least else []
    if most and peaks and peaks["ours"] > most * peaks["theirs"]:
        bad.append(f"{row['row']}: {peaks['ours']} GB, want at most {most} of {peaks['theirs']} GB")
    return bad


HEAD = (
    *("", "ours is", "theirs, processor s", "ours", "theirs / ours, 95 % interval", "wanted"),
    *("peak GB: theirs / ours", "ours / theirs", "wanted"),
)


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Of one row, for people."""
    ratio, peaks, (least, most) = row["ratio"]["processor"], row.get("peak_gb"), row["target"]
    what, kind = row["row"].split(", ")
    return (
        what if row["layers"] == ModelConfig.trunk_layers else f"{what}, {row['layers']} layers",
        kind,
        *(f"{row[side]['processor']:.2f}" for side in ("a", "b")),
        f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})",
        f"{least:g}" if least else "",
        f"{peaks['theirs']} / {peaks['ours']}" if peaks else "",
        f"{peaks['ours'] / peaks['theirs']:.2f}" if peaks else "",
        f"{most:g}" if most else "",
    )


def markdown(document: Mapping[str, Any]) -> str:
    """The table for a page."""
    return table(HEAD, map(cells, sorted(document["rows"], key=order)))


def order(row: Mapping[str, Any]) -> tuple[int, int, int]:
    """By size, by what is run, by how."""
    name, size, _, kind = row["row"].replace(",", "").split()
    return int(size), list(ROWS).index(name), ROWS["frame"].index(kind)


@click.command()
@click.option(
    "--row", "names", type=click.Choice(list(ROWS)), multiple=True, default=list(ROWS), show_default=True
)
@click.option("--size", "sizes", type=int, multiple=True, default=(336,), show_default=True)
@click.option(
    "--kind", "kinds", type=click.Choice(ROWS["frame"]), multiple=True, default=("fused",), show_default=True
)
@click.option("--layers", default=32, show_default=True, help="Of the trunk. Fewer: a quick look, no claim.")
@click.option("--pairs", default=5, show_default=True, type=click.IntRange(2))
@click.option("--threads", default=os.cpu_count() or 1, show_default=True, type=click.IntRange(1))
@click.option("--folder", default=Path("runs/speed"), show_default=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="JSON. Rows of an earlier run stay in it.")
def main(
    names: tuple[str, ...],
    sizes: tuple[int, ...],
    kinds: tuple[str, ...],
    layers: int,
    pairs: int,
    threads: int,
    folder: Path,
    output: Path | None,
) -> None:
    """Time sam3-edge against transformers. Exits 1 if a row misses its target."""
    rows: list[dict[str, Any]] = []
    with errors_told():
        if layers < 1:
            raise UsageError(f"{layers} layers: want at least 1")
        every = tuple(i for i in ModelConfig().global_layers if i < layers) or (layers - 1,)
        for size in sizes:
            config = replace(ModelConfig(), image_size=size, trunk_layers=layers, global_layers=every)
            place = Place(folder, speed_theirs.without_text(config), threads)
            for name in names:
                for kind in (kind for kind in kinds if kind in ROWS[name]):
                    rows.append(measure(Row(name, size, kind), place, pairs) | {"layers": layers})
                    if output is not None:
                        write_document(output, merged(output, rows[-1]))
    console.table("transformers and sam3-edge in turns", HEAD, list(map(cells, rows)), out=True)
    bad = [line for row in rows for line in failures(row)]
    for line in bad:
        console.note(line)
    sys.exit(bool(bad))


def merged(output: Path, row: dict[str, Any]) -> dict[str, Any]:
    """The document with this row in the place of the one of its name."""
    old = json.loads(output.read_text())["rows"] if output.exists() else []
    same = (row["row"], row["layers"])
    return {
        "what": "transformers (a) and sam3-edge (b) in turns, the same random weights and answers",
        "rows": [one for one in old if (one["row"], one["layers"]) != same] + [row],
    }


if __name__ == "__main__":
    main()
