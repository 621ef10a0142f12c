"""How many times as long one takes as another, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLED = 10_000
LEVELS = (0.025, 0.975)  # a 95 % interval


@dataclass(frozen=True)
class Ratio:
    """a / b: the median over the pairs, and its 95 % bootstrap interval. Above 1, b is the faster one."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def outside(self, margin: float) -> bool:
        """Whether the whole interval is further from 1 than `margin`, on one side."""
        return self.low > 1 + margin or self.high < 1 / (1 + margin)

    def to_json(self) -> dict[str, Any]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


def interval(ratios: NDArray[np.float64]) -> Ratio:
    """Median of ratios [n] and its interval, from whole pairs drawn again."""
    drawn = np.median(again(ratios), axis=1)
    return Ratio(float(np.median(ratios)), *ends(drawn))


def unpaired(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """The ratio of two medians, and its interval, from both drawn again, each for itself."""
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    drawn = np.median(again(first), axis=1) / np.median(again(second, seed=1), axis=1)
    return Ratio(float(np.median(first) / np.median(second)), *ends(drawn))


def again(values: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Drawn with replacement, `RESAMPLED` times."""
    places = np.random.default_rng(seed).integers(len(values), size=(RESAMPLED, len(values)))
    drawn: NDArray[np.float64] = values[places]
    return drawn


def ends(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the interval."""
    low, high = np.quantile(drawn, LEVELS)
    return float(low), float(high)
