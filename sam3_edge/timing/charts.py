"""Pictures of a report, as SVG without a script: how frames are spread, what is in one, how a run goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

WIDTH, LEFT, RIGHT = 720, 110, 90  # of a chart; room for labels on either side
BINS, HIGH, ROW = 60, 150, 24


def svg(height: float, parts: Sequence[str], name: str) -> str:
    """The frame of a chart, which is as wide as its page. `name`: for who cannot see it."""
    head = f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(name, quote=True)}">'
    return "\n".join((head, *parts, "</svg>"))


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def spread(samples: Sequence[float], marks: Mapping[str, float]) -> str:
    """A histogram of all samples, from the least to the most, with a line at each mark."""
    counts, edges = np.histogram(samples, BINS)
    most, wide = int(counts.max()), WIDTH - LEFT - RIGHT
    parts = []
    for place, count in enumerate(counts):
        if count:
            high = HIGH * count / most
            x = LEFT + wide * place / BINS
            size = f'width="{wide / BINS - 1:.2f}" height="{high:.2f}"'
            parts.append(f'<rect class="bin" x="{x:.2f}" y="{20 + HIGH - high:.2f}" {size}/>')
    least, span = float(edges[0]), float(edges[-1] - edges[0])
    for name, value in marks.items():
        x = LEFT + wide * (value - least) / span
        parts.append(f'<path class="mark" d="M{x:.2f} 14V{20 + HIGH}"/>' + text(x, 11, name, "middle"))
    parts += [text(LEFT, HIGH + 36, f"{least:.1f} ms"), text(LEFT - 8, 28, str(most), "end")]
    parts += [text(WIDTH - RIGHT, HIGH + 36, f"{edges[-1]:.1f} ms", "end"), base(20 + HIGH)]
    return svg(HIGH + 44, parts, f"{len(samples)} frames by how long they took")


def base(y: float) -> str:
    """The line that a chart stands on."""
    return f'<path class="base" d="M{LEFT} {y:g}H{WIDTH - RIGHT}"/>'


def bars(rows: Mapping[str, float]) -> str:
    """A bar for each component's mean milliseconds; the longest one is as long as there is room."""
    most, parts = max(rows.values()), []
    for place, (name, value) in enumerate(rows.items()):
        y, long = ROW * place, (WIDTH - LEFT - RIGHT) * value / most
        size = f'width="{long:.2f}" height="{ROW - 6}"'
        parts.append(
            f'<rect class="bar" data-name="{escape(name, quote=True)}" x="{LEFT}" y="{y + 3}" {size}/>'
        )
        parts.append(text(LEFT - 8, y + 16, name, "end") + text(LEFT + long + 6, y + 16, f"{value:.2f} ms"))
    return svg(ROW * len(rows), parts, "mean milliseconds of each component")


def curve(values: Sequence[float | None], unit: str, name: str) -> str:
    """A line over the seconds of a run, from zero up; a second without a value breaks it."""
    known = [value for value in values if value is not None]
    most, wide = 1.1 * max(known), WIDTH - LEFT - RIGHT
    pen, path = "M", []
    for second, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        x = LEFT + wide * second / max(1, len(values) - 1)
        path.append(f"{pen}{x:.1f} {20 + HIGH - HIGH * value / most:.1f}")
        pen = "L"
    parts = [f'<path class="curve" d="{"".join(path)}"/>', base(20 + HIGH)]
    parts += [
        text(LEFT - 8, 24 + HIGH * (1 - share), f"{share * most:.0f} {unit}", "end") for share in (0, 0.5, 1)
    ]
    parts += [text(LEFT, HIGH + 36, "0 s"), text(WIDTH - RIGHT, HIGH + 36, f"{len(values) - 1} s", "end")]
    return svg(HIGH + 44, parts, name)
