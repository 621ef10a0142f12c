"""Whether a long run keeps its pace: one-second bins, and the last minute against the first."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

WINDOW = 60.0  # seconds at either end; a fourth of a shorter run
SLOWER = 1.10  # the last window's median frame by the first one's: above it the machine throttles


def bins(begun: Sequence[float], seconds: Sequence[float]) -> list[dict[str, Any]]:
    """What happened in every second of a run: how many frames ended, their p50 and p90 in milliseconds.

    A second in which no frame ended has none of either. The 90th percentile here is plain: of one second
    there are too few frames to claim more.
    """
    ended = np.asarray(begun, np.float64) + np.asarray(seconds) - begun[0]
    place, taken = ended.astype(np.int64), 1e3 * np.asarray(seconds)
    rows = []
    for second in range(int(place[-1]) + 1):
        inside = taken[place == second]
        told = [round(float(x), 3) for x in np.quantile(inside, (0.5, 0.9))] if len(inside) else [None, None]
        rows.append({"second": second, "frames": len(inside), "p50_ms": told[0], "p90_ms": told[1]})
    return rows


def pace(begun: Sequence[float], seconds: Sequence[float]) -> dict[str, Any]:
    """The median frame of the first window and of the last, and what that says."""
    start = np.asarray(begun, np.float64) - begun[0]
    whole = float(start[-1] + seconds[-1])
    window = min(WINDOW, whole / 4)
    first = [s for s, at in zip(seconds, start, strict=True) if at < window]
    last = [s for s, at in zip(seconds, start, strict=True) if at + s > whole - window]
    burst, sustained = 1e3 * median(first), 1e3 * median(last)
    ratio = sustained / burst if burst else None
    return {
        "window_s": round(window, 1),
        "burst_ms": round(burst, 3),
        "sustained_ms": round(sustained, 3),
        "sustained_by_burst": None if ratio is None else round(ratio, 4),
        "throttles": None if ratio is None else ratio > SLOWER,
    }
