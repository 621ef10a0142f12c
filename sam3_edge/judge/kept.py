"""Two results of one question side by side, without the truth: the same objects, the same masks?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam3_edge.judge.assignment import assign
from sam3_edge.judge.bootstrap import draws
from sam3_edge.judge.case import PictureAnswer

KEPT = 0.5  # objects that score above it are shown to a user
SAME = 0.5  # IoU from which two masks are of one object
WORST = 0.05  # the share of masks that are worse than the reported low percentile

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """One case: objects kept by reference and answer; of those in both, IoU and score change, and the IoU of
    their boxes where both have told them.
    """

    reference: int
    answered: int
    ious: tuple[float, ...]
    score_changes: tuple[float, ...]
    box_ious: tuple[float, ...] = ()


def tally(reference: PictureAnswer, answer: PictureAnswer) -> Counts:
    """Match what both keep, by the largest total IoU; a pair is one object from an IoU of `SAME` on."""
    before, after = reference.above(KEPT), answer.above(KEPT)
    iou = before.masks.iou(after.masks)
    pairs = [pair for pair in assign(-iou) if iou[pair] >= SAME]
    return Counts(
        len(before.masks),
        len(after.masks),
        tuple(float(iou[pair]) for pair in pairs),
        tuple(abs(before.scores[row] - after.scores[column]) for row, column in pairs),
        tuple(
            box_iou(before.boxes[row], after.boxes[column])
            for row, column in pairs
            if before.boxes and after.boxes
        ),
    )


def box_iou(one: Sequence[float], other: Sequence[float]) -> float:
    """IoU of two boxes, xyxy; 0 where both are empty."""
    a, b = np.array(one), np.array(other)
    sides = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0)
    both = float(sides.prod())
    either = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - both
    return both / either if either > 0 else 0.0


def rows_of(counts: Sequence[Counts]) -> Floats:
    """Cases as summands [N, 4]: objects of the reference, of the answer, in both, and the IoUs of these."""
    return np.array(
        [(c.reference, c.answered, len(c.ious), sum(c.ious)) for c in counts], np.float64
    ).reshape(len(counts), 4)


def scores_of(sums: Floats) -> dict[str, Floats]:
    """Scores from sums [..., 4] of `rows_of`; NaN where there is no object to speak of."""
    reference, answered, both, iou = np.moveaxis(sums, -1, 0)
    return {
        "kept_precision": ratio(both, answered),
        "kept_recall": ratio(both, reference),
        "kept_f1": ratio(2 * both, reference + answered),
        "mask_iou_mean": ratio(iou, both),
    }


def ratio(part: Floats, whole: Floats) -> Floats:
    """NaN for nothing of nothing."""
    nothing = np.full(np.shape(whole), np.nan)
    return np.asarray(np.divide(part, whole, out=nothing, where=np.asarray(whole) > 0))


def low_iou(counts: Sequence[Counts]) -> tuple[float, Floats]:
    """The IoU that 5 % of the masks in both do not exceed, on all cases and each resample. NaN for none."""
    ious = np.array([iou for c in counts for iou in c.ious])
    owner = np.repeat(np.arange(len(counts)), [len(c.ious) for c in counts])
    order = np.argsort(ious)
    ious, owner = ious[order], owner[order]
    samples = np.array([percentile(ious, drawn[owner]) for drawn in draws(len(counts))])
    return percentile(ious, np.ones(len(ious), np.int64)), samples


def percentile(values: Floats, weights: NDArray[np.int64]) -> float:
    """The smallest of the sorted values such that `WORST` of the weight is at or below it."""
    below = np.cumsum(weights)
    if not len(below) or not below[-1]:
        return float("nan")
    return float(values[np.searchsorted(below, WORST * below[-1])])


def largest_score_change(counts: Sequence[Counts]) -> float:
    """Over all objects in both; 0 if there is none."""
    return max((change for c in counts for change in c.score_changes), default=0.0)
