"""The costs of parts as an SVG: a bar each, and a line where the gate is."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

WIDTH, LEFT, RIGHT, ROW, TOP = 760, 220, 130, 18, 40
MOST = 2.0  # shares: what is worse is drawn as long, with its number beside it


def plot(report: Mapping[str, Any]) -> str:
    """The whole picture of a report. Parts that are to be kept are red."""
    kept = {words.partition("=")[0] for words in report["proposal"]["keep"]}
    rows, wide = report["parts"], WIDTH - LEFT - RIGHT
    height = TOP + ROW * len(rows) + 24
    gate = LEFT + wide / MOST
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="11"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="18" font-weight="bold">{escape(report["scheme"])}: each part compressed alone, '
        "share of what the gate allows</text>",
    ]
    for place, row in enumerate(rows):
        y, long = TOP + ROW * place, wide * min(max(row["share"], 0.0), MOST) / MOST
        colour = "#c0392b" if row["part"] in kept else "#2471a3"
        parts.append(f'<text x="{LEFT - 8}" y="{y + 11}" text-anchor="end">{escape(row["part"])}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{long:.1f}" height="{ROW - 5}" fill="{colour}"/>')
        saved = f"{row['share']:.2f}, {row['bytes_saved'] / 1e6:.2f} MB"
        parts.append(f'<text x="{LEFT + long + 6:.1f}" y="{y + 11}">{saved}</text>')
    parts.append(f'<path d="M{gate:.1f} {TOP - 6}V{height - 16}" stroke="black" stroke-dasharray="4 3"/>')
    parts.append(f'<text x="{gate:.1f}" y="{height - 4}" text-anchor="middle">the gate</text></svg>')
    return "\n".join(parts) + "\n"
