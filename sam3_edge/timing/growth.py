"""Whether a run holds more and more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEAST_FRAMES = 100  # a slope through fewer readings is of noise
SETTLING = 4  # the first fourth of a run still fills arenas and caches
MOST = 1.0  # MB for 1000 frames; more is reported as a leak


def settled(resident: Sequence[float]) -> NDArray[np.float64]:
    """The readings behind the first fourth."""
    return np.array(resident[len(resident) // SETTLING :], np.float64)


def slope(resident: Sequence[float]) -> float | None:
    """MB for 1000 frames: the line of least squares through all but the first fourth of the readings.

    `resident`: MB after each frame. None where the system does not tell, and for fewer than 100 frames.
    """
    readings = settled(resident)
    if len(resident) < LEAST_FRAMES or not np.isfinite(readings).all():
        return None
    return float(1000 * np.polyfit(np.arange(len(readings)), readings, 1)[0])


def leaks(resident: Sequence[float]) -> bool:
    """Whether that is more than 1 MB, and in both halves of those readings: one step up is no leak.

    Nor is less than 1 MB in all: a few pages in 100 frames are several MB for 1000, and stop there.
    """
    found = slope(resident)
    if found is None or found <= MOST:
        return False
    readings = settled(resident)
    if readings[-1] - readings[0] < MOST:
        return False
    middle = len(readings) // 2
    # Half of what such a leak adds in a half: it may come in steps.
    least = 0.5 * found * middle / 1000
    return bool(min(readings[middle] - readings[0], readings[-1] - readings[middle]) >= least)
