"""How far a score could be off: cases drawn again with replacement, the same ones for two programs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 1000
SEED = 0
LEVELS = (2.5, 97.5)  # percentiles: a 95 % interval


def draws(cases: int) -> Iterator[NDArray[np.int64]]:
    """How often each resample contains each case: `RESAMPLES` times [cases], always the same ones.

    Two programs judged on the same cases are so drawn in pairs: what is common to both, hard cases above all,
    cancels out of their difference.
    """
    rng = np.random.default_rng(SEED)
    for _ in range(RESAMPLES):
        yield np.bincount(rng.integers(cases, size=cases), minlength=cases)


def resampled(rows: Floats) -> Floats:
    """Sums of the rows [N, C] over each resample's cases: [RESAMPLES, C]."""
    return np.array([drawn @ rows for drawn in draws(len(rows))])


def interval(samples: Floats) -> tuple[float, float] | None:
    """The middle 95 % of a score over resamples; undefined ones (NaN) are left out. None if all are."""
    known = samples[np.isfinite(samples)]
    if not len(known):
        return None
    low, high = np.percentile(known, LEVELS)
    return float(low), float(high)
