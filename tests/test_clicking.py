"""Where a simulated person clicks."""

from __future__ import annotations

import numpy as np
import pytest

from sam3_edge.judge.clicking import depth, next_click


def test_the_next_click_is_in_the_middle_of_the_largest_error() -> None:
    truth = np.zeros((20, 30), bool)
    truth[4:13, 6:15] = True
    assert next_click(np.zeros_like(truth), truth) == (10, 8, True)
    assert next_click(truth, truth) is None
    found = truth.copy()
    found[0:3, 20:24] = True  # a small error beside a larger one
    found[4:13, 6:10] = False
    assert next_click(found, truth) == (7, 5, True)
    found = np.ones_like(truth)
    column, row, positive = next_click(found, truth) or (0, 0, True)
    assert not positive and not truth[row, column]


def test_depth_is_the_distance_to_what_is_outside() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((13, 17)) < 0.8
    padded = np.pad(mask, 1)
    outside = np.argwhere(~padded) - 1
    for row, column in np.ndindex(mask.shape):
        want = np.hypot(*(outside - (row, column)).T).min() if mask[row, column] else 0
        assert depth(mask)[row, column] == pytest.approx(want)
