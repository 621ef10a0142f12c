"""The rows of a benchmark: which parts of a frame, as the stopwatch names them, belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sam3_edge.timing.percentiles import Summary

DECODE = "decode"
# Graphs, and the host's code around them.
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "decode": (DECODE,),
    "prepare": ("prepare",),
    "backbone": ("backbone",),
    "features": ("detector_features", "tracker_features"),
    "text": ("text",),  # once a phrase, so not in a frame that counts
    "exemplar": ("exemplar",),
    "detector": ("detector", "detect"),
    "masks": ("masks",),
    "track": ("tracker_step", "tracker_init", "tracker_refine", "propagate"),
    "memorize": ("memorize", "remember", "bear"),
    "associate": ("associate", "decide"),
    "post-process": ("show",),
    "wait": ("fetch",),  # for a device that answers later
}
MOST_UNACCOUNTED = 0.05

Columns = Mapping[str, Sequence[float]]  # seconds of each part, frame by frame


def by_component(parts: Columns) -> dict[str, list[float]]:
    """Seconds of each component in every frame, those that never ran left out."""
    found = {}
    for name, inside in COMPONENTS.items():
        columns = [parts[part] for part in inside if part in parts]
        seconds = [sum(values) for values in zip(*columns, strict=True)]
        if any(seconds):
            found[name] = seconds
    return found


def unaccounted(parts: Columns) -> float:
    """The share of all time that no component is named for."""
    named = {part for inside in COMPONENTS.values() for part in inside}
    whole = sum(map(sum, parts.values()))
    other = sum(sum(seconds) for part, seconds in parts.items() if part not in named)
    return other / whole if whole else 0.0


def table(parts: Columns) -> dict[str, Any]:
    """Each component's milliseconds and share of the frame; what is in none; mean milliseconds by part."""
    whole = sum(map(sum, parts.values()))
    rows = {}
    for name, seconds in by_component(parts).items():
        share = sum(seconds) / whole
        rows[name] = Summary.of([1e3 * s for s in seconds]).to_json() | {"share": round(share, 4)}
    means = {part: round(1e3 * sum(seconds) / len(seconds), 3) for part, seconds in parts.items()}
    return {"rows": rows, "unaccounted": round(unaccounted(parts), 4), "parts_mean_ms": means}
