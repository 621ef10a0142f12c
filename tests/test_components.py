"""Connected components against scipy's."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from sam3_edge.loop.components import label


def test_the_same_components_as_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(400):
        mask = rng.random(rng.integers(1, 40, 2)) < rng.random()
        labels, areas = label(mask)
        wanted, count = ndimage.label(mask, np.ones((3, 3)))
        assert labels.max(initial=0) == count == len(areas)
        pairs = set(zip(labels.ravel().tolist(), wanted.ravel().tolist(), strict=True))
        assert len(pairs) == count + (not mask.all())  # one of theirs for each of ours
        assert np.array_equal(np.bincount(labels.ravel(), minlength=count + 1)[1:], areas)


def test_numbers_follow_the_reading_order() -> None:
    mask = np.zeros((4, 9), bool)
    mask[0, 5] = mask[1, 0:2] = mask[2, 2] = mask[2, 6] = mask[3, 8] = True
    labels, areas = label(mask)
    assert labels[0, 5] == 1 and labels[1, 0] == labels[2, 2] == 2 and labels[2, 6] == 3 and labels[3, 8] == 4
    assert areas.tolist() == [1, 3, 1, 1]


def test_no_component() -> None:
    labels, areas = label(np.zeros((3, 5), bool))
    assert not labels.any() and labels.shape == (3, 5) and len(areas) == 0
