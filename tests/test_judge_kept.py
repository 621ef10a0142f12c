"""Two results side by side, and how far a score could be off."""

from __future__ import annotations

import numpy as np
import pytest

from sam3_edge.judge import bootstrap, kept
from sam3_edge.judge.case import Masks, PictureAnswer


def test_resamples_are_paired_and_the_same_again() -> None:
    rows = np.random.default_rng(3).random((50, 2))
    sums = bootstrap.resampled(rows)
    assert sums.shape == (bootstrap.RESAMPLES, 2) and np.array_equal(sums, bootstrap.resampled(rows))
    assert all(drawn.sum() == 50 for drawn in bootstrap.draws(50))
    # The mean's interval is that of theory: 1.96 standard errors each way.
    ends = bootstrap.interval(sums[:, 0] / 50)
    assert ends is not None
    error = rows[:, 0].std() / np.sqrt(50)
    assert np.subtract(ends, rows[:, 0].mean()) == pytest.approx([-1.96 * error, 1.96 * error], rel=0.12)
    # A constant lead has no spread in the difference, however much each program's score has.
    lead = bootstrap.resampled(rows + 1) - sums
    assert bootstrap.interval(lead[:, 0] / 50) == pytest.approx((1, 1))
    assert bootstrap.interval(np.array([np.nan, 2.0])) == (2.0, 2.0)
    assert bootstrap.interval(np.full(3, np.nan)) is None


def box_answer(*spans: tuple[int, int], scores: tuple[float, ...]) -> PictureAnswer:
    """Objects as columns of a picture of one row of 100 pixels."""
    masks = np.zeros((len(spans), 1, 100), bool)
    for mask, (first, last) in zip(masks, spans, strict=True):
        mask[0, first:last] = True
    return PictureAnswer(Masks.of(masks), scores)


def test_kept() -> None:
    """Three kept by the reference, three by the other: one the same, one of IoU 0.5, one apart."""
    before = box_answer((0, 10), (20, 30), (40, 50), (60, 70), scores=(0.9, 0.8, 0.7, 0.5))
    after = box_answer((0, 10), (20, 25), (80, 90), (40, 50), scores=(0.8, 0.6, 0.9, 0.4))
    counts = kept.tally(before, after)
    assert (counts.reference, counts.answered, counts.ious) == (3, 3, (1.0, 0.5))
    assert kept.largest_score_change([counts]) == pytest.approx(0.2)
    scores = kept.scores_of(kept.rows_of([counts]).sum(0))
    assert scores["kept_precision"] == scores["kept_recall"] == scores["kept_f1"] == pytest.approx(2 / 3)
    assert scores["mask_iou_mean"] == 0.75 and kept.low_iou([counts])[0] == 0.5
    low, samples = kept.low_iou([counts, kept.tally(before, before)])
    assert low == 0.5 and set(samples.tolist()) == {0.5, 1.0}
    nothing = box_answer(scores=())
    empty = kept.tally(nothing, nothing)
    assert all(np.isnan(value) for value in kept.scores_of(kept.rows_of([empty]).sum(0)).values())
    assert np.isnan(kept.low_iou([empty])[0]) and kept.largest_score_change([empty]) == 0
    values = np.sort(np.random.default_rng(0).random(1000))
    want = np.percentile(values, 5, method="inverted_cdf")
    assert kept.percentile(values, np.ones(1000, np.int64)) == want
