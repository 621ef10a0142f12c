"""What this machine can do at this moment: the best a matrix product and a copy get out of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

SIDE = 768  # of the float32 matrices: 0.9 GFLOP a product, in a few tens of milliseconds on one core
COPIED = 64 << 20  # bytes: more than a cache holds


@dataclass(frozen=True)
class Roofline:
    """Float32 matrix product in GFLOP/s, and copy in GB/s, bytes read and bytes written both counted."""

    gflops: float
    copy_gbs: float


class Probe:
    """Measures a `Roofline` in well under a second, as often as asked; keeps its memory meanwhile."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._left, self._right = rng.random((2, SIDE, SIDE), np.float32)
        self._product = np.empty_like(self._left)
        self._source = np.ones(COPIED, np.uint8)
        self._target = np.zeros(COPIED, np.uint8)

    def measure(self) -> Roofline:
        """The best of three, of each: other programs can only make it slower."""
        product = fastest(lambda: np.matmul(self._left, self._right, out=self._product))
        copy = fastest(lambda: np.copyto(self._target, self._source))
        return Roofline(2 * SIDE**3 / product / 1e9, 2 * COPIED / copy / 1e9)


def fastest(action: Callable[[], Any], *, times: int = 3) -> float:
    """Wall seconds of the fastest run."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return min(taken)


def summary(probes: Sequence[Roofline]) -> dict[str, dict[str, float]]:
    """Median, least and most of each number: a wide spread says that the machine was not quiet."""
    columns = {
        "gflops": [probe.gflops for probe in probes],
        "copy_gbs": [probe.copy_gbs for probe in probes],
    }
    return {
        name: {"median": round(median(v), 2), "least": round(min(v), 2), "most": round(max(v), 2)}
        for name, v in columns.items()
    }
