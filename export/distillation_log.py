"""The log of a distillation, a JSON line for each step, and the same as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .processes import rank

LOG = "log.jsonl"
WIDTH, HEIGHT, MARGIN, POINTS = 860, 320, 40, 200
COLOURS = ("#c0392b", "#2471a3", "#1e8449", "#7d3c98", "#b7950b", "#117a65", "#6e2c00", "#34495e")


def write_row(folder: Path, row: dict[str, Any]) -> None:
    """A line of the log, by the first process."""
    if rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOG).open("a") as file:
            file.write(json.dumps(row) + "\n")


def cut_log(path: Path, steps: int) -> None:
    """Forget the steps after the state that was kept: they are done again."""
    if path.exists():
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:steps]))


def plot(log: str) -> str:
    """An SVG: each loss as a share of the most it was, in means over a two-hundredth of the steps."""
    rows = [json.loads(line) for line in log.splitlines()]
    names = [n for n in dict.fromkeys(n for row in rows for n in row) if n not in ("step", "pass", "rate")]
    last, every = max((row["step"] for row in rows), default=1), max(1, len(rows) // POINTS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="11"><rect width="100%" height="100%" fill="white"/>'
    ]
    for place, name in enumerate(names):
        found = [(row["step"], row[name]) for row in rows if name in row]
        groups = [found[i : i + every] for i in range(0, len(found), every)]
        points = [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]
        most, colour = max(value for _, value in points) or 1, COLOURS[place % len(COLOURS)]
        path = " ".join(
            f"{MARGIN + (WIDTH - 2 * MARGIN) * step / last:.1f},"
            f"{HEIGHT - MARGIN - (HEIGHT - 3 * MARGIN) * value / most:.1f}"
            for step, value in points
        )
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
        x, y = MARGIN + 135 * (place % 6), 16 + 15 * (place // 6)
        parts.append(f'<text x="{x}" y="{y}" fill="{colour}">{name} (1 = {most:.3g})</text>')
    parts.append(
        f'<text x="{WIDTH // 2}" y="{HEIGHT - 12}" text-anchor="middle">0 to {last} steps</text></svg>'
    )
    return "\n".join(parts) + "\n"
