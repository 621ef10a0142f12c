"""Draw a training log as an SVG: `python -m sam3_edge.benchmarks.training_curve LOG -o CURVE.svg`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from sam3_edge.errors import CheckError
from sam3_edge.writing import write_file

LINE = re.compile(r"(\w+) (\d+)/\d+  (.*)  cpu \d+s")
EVERY = 50  # steps that a line of the log sums up
WIDTH, HEIGHT, MARGIN = 860, 300, 40
COLOURS = {
    "detect": "#c0392b",
    "boxes": "#2471a3",
    "concept": "#1e8449",
    "cells": "#7d3c98",
    "track": "#c0392b",
    "said": "#2471a3",
    "clicks": "#1e8449",
}


def read_log(text: str) -> dict[str, list[tuple[int, float]]]:
    """Each loss as (step over all stages, value). Raises `CheckError` for a log without any."""
    losses: dict[str, list[tuple[int, float]]] = {}
    step = 0
    for _, _, values in LINE.findall(text):
        step += EVERY
        for name, value in re.findall(r"(\w+) ([\d.]+)", values):
            losses.setdefault(name, []).append((step, float(value)))
    if not losses:
        raise CheckError("no line of the log says `STAGE STEP/STEPS  LOSS VALUE ...  cpu SECONDSs`")
    return losses


def curve(losses: dict[str, list[tuple[int, float]]]) -> str:
    """An SVG with a line for each loss, as a share of the largest value it had."""
    last = max(points[-1][0] for points in losses.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for place, (name, points) in enumerate(losses.items()):
        largest, colour = max(value for _, value in points), COLOURS.get(name, "black")
        path = " ".join(
            f"{MARGIN + (WIDTH - 2 * MARGIN) * step / last:.1f},"
            f"{HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * value / largest:.1f}"
            for step, value in points
        )
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        label = f"{name} (1 = {largest:g})"
        parts.append(f'<text x="{MARGIN + 190 * place}" y="20" fill="{colour}">{label}</text>')
    middle = WIDTH // 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">0 to {last} steps</text></svg>')
    return "\n".join(parts) + "\n"


@click.command()
@click.argument("log", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
def main(log: Path, output: Path) -> None:
    """Draw every loss of LOG."""
    write_file(output, curve(read_log(log.read_text())).encode(), overwrite=True)


if __name__ == "__main__":
    main()
