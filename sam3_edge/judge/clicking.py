"""Where a simulated person clicks next: as far inside the largest error as can be (Sofiiuk et al. 2021)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


def depth(mask: Bools) -> NDArray[np.float64]:
    """Distance of each pixel of a mask [H, W] to the nearest one outside; beyond the edge all is outside."""
    height, width = mask.shape
    rows = np.arange(1, height + 1)[:, None]
    above = np.maximum.accumulate(np.where(mask, 0, rows), axis=0)
    below = np.minimum.accumulate(np.where(mask, height + 1, rows)[::-1], axis=0)[::-1]
    reach = np.minimum(rows - above, below - rows).astype(np.float64) ** 2  # to the end of the column's run
    columns = np.arange(width)
    beside = (columns[:, None] - columns[None]).astype(np.float64) ** 2
    nearest = np.minimum((reach[:, None] + beside).min(-1), np.minimum(columns + 1, width - columns) ** 2.0)
    deep: NDArray[np.float64] = np.sqrt(np.where(mask, nearest, 0))
    return deep


def within(mask: Bools) -> NDArray[np.float64]:
    """`depth`, computed where the mask has pixels only."""
    deep = np.zeros(mask.shape)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows):
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        deep[part] = depth(mask[part])
    return deep


def next_click(found: Bools, truth: Bools) -> tuple[int, int, bool] | None:
    """Column and row of the next click, and whether it says "this too"; None if nothing is wrong.

    The first of the deepest pixels of what is missing, or of what is too much, if that is deeper.
    """
    missing, extra = within(truth & ~found), within(found & ~truth)
    positive = bool(missing.max(initial=0) >= extra.max(initial=0))
    deep = missing if positive else extra
    if not deep.any():
        return None
    row, column = np.unravel_index(deep.argmax(), deep.shape)
    return int(column), int(row), positive
