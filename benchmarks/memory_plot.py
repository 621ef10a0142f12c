"""Memory over time as an SVG, one panel beside the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 430, 300, 60, 60, 40
COLOURS = ("#2471a3", "#c0392b", "#1e8449")


@dataclass(frozen=True)
class Series:
    """A line: points (step, megabytes)."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Lines over the same steps."""

    title: str
    unit: str
    series: Sequence[Series]


def plot(panels: Sequence[Panel]) -> str:
    """The whole picture."""
    width = WIDTH * len(panels)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    )
    drawn = [f'<g transform="translate({WIDTH * i} 0)">{draw(panel)}</g>' for i, panel in enumerate(panels)]
    return "\n".join((head, *drawn, "</svg>")) + "\n"


def draw(panel: Panel) -> str:
    """One panel: axes from zero, a line and a label for each series."""
    last = max(step for series in panel.series for step, _ in series.points)
    most = max(size for series in panel.series for _, size in series.points) * 1.05
    right, low = WIDTH - 20, HEIGHT - BOTTOM
    parts = [f'<text x="{LEFT}" y="20" font-weight="bold">{escape(panel.title)}</text>']
    parts.append(f'<path d="M{LEFT} {TOP}V{low}H{right}" fill="none" stroke="black"/>')
    for share in (0.0, 0.5, 1.0):
        y = low - share * (low - TOP)
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{share * most:.0f}</text>')
    for place, series in enumerate(panel.series):
        colour = COLOURS[place % len(COLOURS)]
        path = " ".join(
            f"{LEFT + (right - LEFT) * step / last:.1f},{low - (low - TOP) * size / most:.1f}"
            for step, size in series.points
        )
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(
            f'<text x="{LEFT + 8}" y="{TOP - 20 + 14 * place}" fill="{colour}">{escape(series.name)}</text>'
        )
    middle = (LEFT + right) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{HEIGHT - 12}" text-anchor="middle">0 to {last:,.0f} {panel.unit}; '
        "resident memory in MB</text>"
    )
    return "".join(parts)
