"""Every score of a set of cases, with what it would have been on other cases of the kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam3_edge.judge import concept_f1, hota, kept, region, regression
from sam3_edge.judge.average_precision import average_precision
from sam3_edge.judge.bootstrap import resampled
from sam3_edge.judge.case import Clip, ClipCase, PictureAnswer, PictureCase

Floats = NDArray[np.float64]
SURE = 0.5  # what a program answers: the objects and identities that score above it
FIELDS = tuple(hota.Counts.__dataclass_fields__)
OF_HOTA = {"p_hota": "hota", "det_a": "det_a", "ass_a": "ass_a", "id_switches": "switches"}


@dataclass(frozen=True)
class Sample:
    """One score on all cases (NaN: undefined on them), and on each resample where that can be had."""

    value: float
    resamples: Floats | None


Samples: TypeAlias = Mapping[str, Sample]
Scores: TypeAlias = Callable[[Floats], Mapping[str, Floats]]


def additive(rows: Floats, scores: Scores) -> dict[str, Sample]:
    """Scores that follow from sums over the cases' rows [N, C]."""
    points, samples = scores(rows.sum(0)), scores(resampled(rows))
    return {name: Sample(float(point), np.asarray(samples[name])) for name, point in points.items()}


class PictureJudge:
    """A program's answers to picture cases, tallied once, and scored for any part of the cases."""

    def __init__(
        self,
        cases: Sequence[PictureCase],
        answers: Mapping[str, PictureAnswer],
        reference: Mapping[str, PictureAnswer] | None = None,
    ) -> None:
        self.cases, self.answers = cases, answers
        self.found = [concept_f1.tally(case, answers[case.key]) for case in cases]
        self.kept: list[kept.Counts] = []
        self.held: list[regression.Held] = []
        if reference is not None:
            pairs = [(case, reference[case.key], answers[case.key]) for case in cases]
            self.kept = [kept.tally(before, after) for _, before, after in pairs]
            self.held = [
                regression.picture_holds(case, before.above(SURE), after.above(SURE))
                for case, before, after in pairs
            ]

    def score(self, where: Sequence[int]) -> Samples:
        """All scores of the cases at these places; those against a reference if there is one."""
        scores = additive(concept_f1.table([self.found[i] for i in where]), concept_scores)
        found = average_precision([self.cases[i] for i in where], self.answers).values()
        # No resamples: COCO's precision is made non-increasing over all objects at once, so it is no sum.
        named = {
            name.replace("recall", "ar"): value if value >= 0 else np.nan for name, value in found.items()
        }
        scores |= {name: Sample(value, None) for name, value in named.items()}
        if self.held:
            scores |= held_scores([self.held[i] for i in where])
            counts = [self.kept[i] for i in where]
            scores |= additive(kept.rows_of(counts), kept.scores_of)
            scores["mask_iou_p5"] = Sample(*kept.low_iou(counts))
            scores["score_change_max"] = Sample(kept.largest_score_change(counts), None)
        return scores


def concept_scores(sums: Floats) -> dict[str, Floats]:
    """The cgF1 family; undefined, not 0, where no case could have shown it."""
    made = concept_f1.ConceptF1(sums)
    tn, fp, fn, tp = made.outcomes
    present, absent = fn + tp > 0, tn + fp > 0
    values = made.values()
    return {
        "cg_f1": np.where(present & absent, values["cg_f1"], np.nan),
        "pm_f1": np.where(present, values["pm_f1"], np.nan),
        "pm_f1@0.5": np.where(present, values["pm_f1@0.5"], np.nan),
        "il_mcc": np.where(present & absent, values["il_mcc"], np.nan),
        "il_fpr": np.where(absent, values["il_fpr"], np.nan),
    }


class ClipJudge:
    """A program's answers to clip cases, tallied once, and scored for any part of the cases.

    `same_ids`: identities are those of the truth and the first and last frame are given, as in DAVIS.
    """

    def __init__(
        self,
        cases: Sequence[ClipCase],
        answers: Mapping[str, Clip],
        reference: Mapping[str, Clip] | None = None,
        *,
        same_ids: bool = False,
    ) -> None:
        shown = {key: sure(clip) for key, clip in answers.items()}
        pairs = [(case, shown[case.key]) for case in cases]
        self.tracked = [hota.tally(case, answer) for case, answer in pairs]
        self.regions = [
            region.j_and_f(case.truth, answer, same_ids=same_ids, skip_ends=same_ids)
            for case, answer in pairs
        ]
        self.held: list[regression.Held] = []
        if reference is not None:
            self.held = [
                regression.clip_holds(case, sure(reference[case.key]), answer) for case, answer in pairs
            ]

    def score(self, where: Sequence[int]) -> Samples:
        """All scores of the cases at these places; no regression if there is a reference."""
        rows = [[(o.j, o.f, 1.0) for o in self.regions[i].objects] for i in where]
        sums = np.array([np.sum(row, axis=0) if row else np.zeros(3) for row in rows])
        scores = additive(sums, region_scores)
        tracked = [np.concatenate([getattr(self.tracked[i], name) for name in FIELDS]) for i in where]
        scores |= additive(np.array(tracked), hota_scores)
        return scores | (held_scores([self.held[i] for i in where]) if self.held else {})


def sure(clip: Clip) -> Clip:
    """Only the identities that score above `SURE`, as SA-Co VEval counts them."""
    objects = {number: masklet for number, masklet in clip.objects.items() if clip.scores[number] > SURE}
    return Clip(clip.size, clip.frames, objects, {number: clip.scores[number] for number in objects})


def region_scores(sums: Floats) -> dict[str, Floats]:
    """J, F and their mean from sums [..., 3] of J, F and objects."""
    j, f = (kept.ratio(sums[..., i], sums[..., 2]) for i in (0, 1))
    return {"j_and_f": (j + f) / 2, "j": j, "f": f}


def hota_scores(sums: Floats) -> dict[str, Floats]:
    """The HOTA family from sums [..., C] of all fields of `hota.Counts`, which are one after the other.

    Undefined without any object, true or answered.
    """
    ends = np.cumsum([1 if name in hota.CLEAR else len(hota.ALPHAS) for name in FIELDS])[:-1]
    made: list[list[float]] = []
    for row in sums.reshape(-1, sums.shape[-1]):
        counts = hota.Counts(*np.split(row, ends))
        if not (counts.hits + counts.misses + counts.extras).any():
            made.append([np.nan] * len(OF_HOTA))
            continue
        scores = hota.Hota.of([counts])
        made.append([float(getattr(scores, name)) for name in OF_HOTA.values()])
    columns = np.array(made).reshape(*sums.shape[:-1], len(OF_HOTA))
    return {name: columns[..., i] for i, name in enumerate(OF_HOTA)}


def held_scores(held: Sequence[regression.Held]) -> dict[str, Sample]:
    """No regression, 0..1: what the reference got right and the answer still does."""
    rows = np.array([(h.held, h.total) for h in held], np.float64).reshape(len(held), 2)
    return additive(rows, lambda sums: {"no_regression": kept.ratio(sums[..., 0], sums[..., 1])})
