"""cgF1 of SA-Co: how well concepts are found in pictures, and whether they are known to be absent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .assignment import assign
from .case import Masks, PictureAnswer, PictureCase

Floats = NDArray[np.float64]

IOUS: Floats = np.linspace(0.5, 0.95, 10)
"""A pair is a hit at a threshold if its IoU is not below it."""

# The official evaluator keeps its quotients finite with these, so that 0 / 0 is 0 and a perfect answer is
# just below 1. They lower scores of few objects by up to 1.5e-4; equality with published numbers needs them.
BOX_EPSILON, PICTURE_EPSILON = 1e-4, 1e-6
UNDEFINED = -1.0  # as in COCO: nothing to average over


@dataclass(frozen=True)
class Counts:
    """How one case came out: objects hit at each IoU of `IOUS` [10], of how many true and answered."""

    hits: NDArray[np.int64]
    truths: int
    answers: int

    @property
    def empty(self) -> bool:
        """Nothing there, and nothing answered."""
        return not self.truths and not self.answers

    @property
    def f1(self) -> Floats:
        """F1 of this case alone, at each IoU [10]."""
        hits = self.hits.astype(np.float64)
        return mean_of(hits / (self.answers + BOX_EPSILON), hits / (self.truths + BOX_EPSILON), BOX_EPSILON)

    @property
    def row(self) -> Floats:
        """This case as summands [COLUMNS]; every score of a set of cases follows from the sum of its rows."""
        present, answered = self.truths > 0, self.answers > 0
        outcome = np.zeros((2, 2))
        outcome[int(present), int(answered)] = 1
        sizes = (self.truths, self.answers, self.answers * present)
        return np.concatenate((self.hits, self.f1, sizes, outcome.ravel()))


COLUMNS = 2 * len(IOUS) + 3 + 4


def tally(case: PictureCase, answer: PictureAnswer, *, threshold: float = 0.5) -> Counts:
    """Match the objects that score at least `threshold` with the true ones.

    The matching has the largest total IoU, whatever the single IoUs (Hungarian matching). Of several
    annotators the one counts whom the answer meets best: one who saw nothing, if nothing was answered; else
    the highest mean F1 over `IOUS`, the first of equals (the "oracle" of SA-Co Gold).
    Raises UsageError if the answer's masks are of another size than the case's.
    """
    case.check(answer)
    kept = [i for i, score in enumerate(answer.scores) if score >= threshold]
    found = Masks(answer.masks.size, tuple(answer.masks.runs[i] for i in kept))
    best, *others = (count(truth, found) for truth in case.truths)
    for other in others:
        if other.empty or other.f1.mean() > best.f1.mean():
            best = other
    return best


def count(truth: Masks, found: Masks) -> Counts:
    """One annotator's objects against those found."""
    iou = found.iou(truth)
    matched = np.array([iou[pair] for pair in assign(-iou)])
    return Counts((matched[:, None] >= IOUS).sum(axis=0), len(truth), len(found))


def mean_of(precision: Floats, recall: Floats, epsilon: float) -> Floats:
    """The harmonic mean of precision and recall."""
    return np.asarray(2 * precision * recall / (precision + recall + epsilon))


def table(counts: Sequence[Counts]) -> Floats:
    """Cases as rows of summands [N, COLUMNS]. For a bootstrap see `ConceptF1`."""
    return np.array([c.row for c in counts]).reshape(len(counts), COLUMNS)


@dataclass(frozen=True)
class ConceptF1:
    """The scores of a set of cases, or of many resamples of it at once.

    `sums` [..., COLUMNS] adds rows of `table`. For B resamples: `ConceptF1(draws @ table(counts))`, where
    draws [B, N] says how often each resample contains each case; every score then has a leading axis B.
    Scores of masks end in an axis of 10, for `IOUS`; those of presence (`il_...`, "image level") do not.
    Formulas: the SAM 3 paper (arXiv 2511.16719); epsilons and special cases: the evaluator in its package.
    """

    sums: Floats

    @classmethod
    def of(cls, counts: Sequence[Counts]) -> ConceptF1:
        """All cases once."""
        return cls(table(counts).sum(axis=0))

    @property
    def hits(self) -> Floats:
        """Objects found, over all cases."""
        return self.sums[..., : len(IOUS)]

    @property
    def sizes(self) -> tuple[Floats, Floats, Floats]:
        """True objects, answered objects, and those answered where the concept is present; each [..., 1]."""
        truths, answers, of_present = np.split(self.sums[..., 2 * len(IOUS) : -4], 3, axis=-1)
        return truths, answers, of_present

    @property
    def outcomes(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Cases by presence: rightly silent, wrongly answered, wrongly silent, rightly answered."""
        tn, fp, fn, tp = np.moveaxis(self.sums[..., -4:], -1, 0)
        return tn, fp, fn, tp

    @property
    def precision(self) -> Floats:
        """Hits of all answered objects, in micro average."""
        return np.asarray(self.hits / (self.sizes[1] + BOX_EPSILON))

    @property
    def recall(self) -> Floats:
        """Hits of all true objects, in micro average."""
        return np.asarray(self.hits / (self.sizes[0] + BOX_EPSILON))

    @property
    def f1(self) -> Floats:
        """Micro F1 over all cases."""
        return mean_of(self.precision, self.recall, BOX_EPSILON)

    @property
    def pm_precision(self) -> Floats:
        """Hits of the objects answered where the concept is present."""
        return np.asarray(self.hits / (self.sizes[2] + BOX_EPSILON))

    @property
    def pm_f1(self) -> Floats:
        """Positive micro F1: false objects count only where the concept is present."""
        return mean_of(self.pm_precision, self.recall, BOX_EPSILON)

    @property
    def macro_f1(self) -> Floats:
        """Positive macro F1: the mean over present concepts that were answered (misses are left out)."""
        answered = self.outcomes[3][..., None]
        f1s = self.sums[..., len(IOUS) : 2 * len(IOUS)]
        return np.where(answered > 0, f1s / np.maximum(answered, 1), UNDEFINED)

    @property
    def cg_f1(self) -> Floats:
        """Concept-gated F1: pmF1 times IL_MCC. Papers show it times 100."""
        return self.pm_f1 * self.il_mcc[..., None]

    @property
    def il_precision(self) -> Floats:
        """Of the concepts answered, how many are present."""
        _, fp, _, tp = self.outcomes
        return np.asarray(tp / (tp + fp + PICTURE_EPSILON))

    @property
    def il_recall(self) -> Floats:
        """Of the concepts present, how many were answered."""
        _, _, fn, tp = self.outcomes
        return np.asarray(tp / (tp + fn + PICTURE_EPSILON))

    @property
    def il_f1(self) -> Floats:
        """F1 of presence."""
        return mean_of(self.il_precision, self.il_recall, PICTURE_EPSILON)

    @property
    def il_fpr(self) -> Floats:
        """Of the concepts absent, how many were answered."""
        tn, fp, _, _ = self.outcomes
        return np.asarray(fp / (fp + tn + PICTURE_EPSILON))

    @property
    def il_mcc(self) -> Floats:
        """Matthews correlation of presence and answer, -1..1; 0 where either never changes."""
        tn, fp, fn, tp = self.outcomes
        spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        return np.asarray((tp * tn - fp * fn) / (spread + PICTURE_EPSILON))

    def values(self) -> dict[str, Floats]:
        """Every score by name, each [...]: "pm_f1" is the mean over `IOUS`; "pm_f1@0.5" and "@0.75"."""
        found: dict[str, Floats] = {}
        for name in OF_MASKS:
            score = getattr(self, name)
            found |= {name: score.mean(axis=-1), f"{name}@0.5": score[..., 0], f"{name}@0.75": score[..., 5]}
        return found | {name: getattr(self, name) for name in OF_PRESENCE}


OF_MASKS = ("cg_f1", "pm_f1", "pm_precision", "macro_f1", "precision", "recall", "f1")
OF_PRESENCE = ("il_mcc", "il_f1", "il_precision", "il_recall", "il_fpr")
