"""What n samples can tell: percentiles, and the bound that holds with 99 % confidence.

The bound is MLPerf Inference's early stopping: of n samples, t may be over a percentile p for the largest
t >= 1 with P(Binomial(n, 1 - p) <= t) <= 1 - 0.99. The t - 1 highest are discarded, and the highest of the
rest is the estimate. It is never below the sample's own percentile, and closes in on it as n grows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

LEVELS = (50, 90, 99)
DOUBT = 0.01  # 1 - MLPerf's confidence of 0.99
UNSTABLE = 0.05  # a coefficient of variation above it is warned of


def discarded(count: int, level: float) -> int:
    """The largest t with P(Binomial(count, 1 - level / 100) <= t) <= 0.01; 0 if there is none above 0."""
    over = 1 - level / 100
    total, allowed = 0.0, 0
    for t in range(count + 1):
        log = math.lgamma(count + 1) - math.lgamma(t + 1) - math.lgamma(count - t + 1)
        total += math.exp(log + t * math.log(over) + (count - t) * math.log1p(-over))
        if total > DOUBT:
            break
        allowed = t
    return allowed


@lru_cache(maxsize=32)
def needed(level: float) -> int:
    """The fewest samples from which a percentile is told: 11 for p50, 64 for p90, 662 for p99."""
    count = 2
    while discarded(count, level) < 1:
        count += 1
    return count


@dataclass(frozen=True)
class Percentile:
    """A percentile of n samples: that of the sample, and the bound that early stopping gives.

    Both None when n is below `needs`.
    """

    level: int
    value: float | None
    bound: float | None
    needs: int

    @classmethod
    def of(cls, ordered: np.ndarray[Any, np.dtype[np.float64]], level: int) -> Percentile:
        """Of samples in rising order. `value` is one of them: the lowest with `level` % at or below it."""
        count, needs = len(ordered), needed(level)
        if count < needs:
            return cls(level, None, None, needs)
        value = ordered[max(0, math.ceil(level * count / 100) - 1)]
        return cls(level, float(value), float(ordered[count - discarded(count, level)]), needs)


@dataclass(frozen=True)
class Summary:
    """n samples of one kind, none of them left out."""

    n: int
    mean: float
    least: float
    most: float
    variation: float | None  # standard deviation by mean; None of one sample, or a mean of 0
    percentiles: tuple[Percentile, ...]

    @classmethod
    def of(cls, samples: Sequence[float]) -> Summary:
        """Of at least one sample."""
        ordered = np.sort(np.asarray(samples, np.float64))
        mean = float(ordered.mean())
        varied = float(ordered.std(ddof=1)) / mean if len(ordered) > 1 and mean > 0 else None
        levels = tuple(Percentile.of(ordered, level) for level in LEVELS)
        return cls(len(ordered), mean, float(ordered[0]), float(ordered[-1]), varied, levels)

    @property
    def unstable(self) -> bool:
        """Whether the samples vary by more than 5 %."""
        return self.variation is not None and self.variation > UNSTABLE

    def percentile(self, level: int) -> Percentile:
        """One of `LEVELS`."""
        return next(one for one in self.percentiles if one.level == level)

    def to_json(self, digits: int = 3) -> dict[str, Any]:
        """Plain values. A percentile without enough samples is null, and says how many it needs."""
        told: dict[str, Any] = {"n": self.n, "mean": round(self.mean, digits)}
        told |= {"min": round(self.least, digits), "max": round(self.most, digits)}
        for one in self.percentiles:
            value, bound = (None if x is None else round(x, digits) for x in (one.value, one.bound))
            told[f"p{one.level}"] = {"value": value, "early_stopping": bound, "needs": one.needs}
        told["cv"] = None if self.variation is None else round(self.variation, 4)
        return told


def told(percentile: dict[str, Any], key: str = "value", digits: int = 1) -> str:
    """A percentile of `Summary.to_json` for people."""
    value = percentile[key]
    return f"n/a (needs {percentile['needs']})" if value is None else f"{value:.{digits}f}"
