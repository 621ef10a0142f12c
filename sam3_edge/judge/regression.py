"""No-regression %: the share of what a reference got right that another result still gets right.

Two flavours. `*_holds` knows the truth: of every object a reference found, is the mask no worse?
`*_agrees` does not: is it the mask of the reference? In clips, identities are paired once for the whole clip
and an object is looked for under its own identity only, so swapped identities count as lost while they are.
New objects that the reference does not have are no regression here; pHOTA and cgF1 see them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sam3_edge.judge.assignment import assign
from sam3_edge.judge.case import Clip, ClipCase, Masks, PictureAnswer, PictureCase
from sam3_edge.judge.region import check_fit, clip_of_frames, overlaps, pair, presence

MARGIN = 0.01  # IoU that a mask may lose
ROUNDING = 1e-9  # in binary, 0.10 - 0.01 is more than 0.09


@dataclass(frozen=True)
class Held:
    """Masks of the reference that held, of all. Additive: `of` sums cases."""

    held: int
    total: int

    @property
    def share(self) -> float | None:
        """0..1, None if the reference has nothing that could be lost."""
        return self.held / self.total if self.total else None

    @classmethod
    def of(cls, cases: Sequence[Held]) -> Held:
        return cls(sum(case.held for case in cases), sum(case.total for case in cases))


def clip_agrees(reference: Clip, answer: Clip) -> Held:
    """Every mask of the reference: has the answer one of IoU >= 1 - `MARGIN` under the paired identity?"""
    check_fit(reference, answer)
    reference, answer = (clip_of_frames(clip, range(clip.frames)) for clip in (reference, answer))
    seen, iou, partners = presence(reference), overlaps(reference, answer), pair(reference, answer)
    held = 0
    for row, column in by_place(reference, answer, partners):
        held += int((seen[:, row] & (iou[:, row, column] >= 1 - MARGIN - ROUNDING)).sum())
    return Held(held, int(seen.sum()))


def clip_holds(case: ClipCase, reference: Clip, answer: Clip) -> Held:
    """Every mask of the reference that shares a pixel with the true object of its identity: is the answer's
    IoU with that object, under the identity paired with it, >= the reference's - `MARGIN` in that frame?
    """
    check_fit(case.truth, reference)
    check_fit(case.truth, answer)
    truth, before, after = (clip_of_frames(c, range(c.frames)) for c in (case.truth, reference, answer))
    was, now = overlaps(truth, before), overlaps(truth, after)
    found = dict(by_place(truth, after, pair(truth, after)))
    held = total = 0
    for row, column in by_place(truth, before, pair(truth, before)):
        had = was[:, row, column]
        total += int((had > 0).sum())
        if row in found:
            held += int(((had > 0) & (now[:, row, found[row]] >= had - MARGIN - ROUNDING)).sum())
    return Held(held, total)


def picture_agrees(reference: PictureAnswer, answer: PictureAnswer) -> Held:
    """As `clip_agrees`, for one picture: objects are paired by the largest total IoU."""
    matches = best_matches(reference.masks, answer.masks)
    return Held(sum(iou >= 1 - MARGIN - ROUNDING for _, iou in matches.values()), len(reference.masks))


def picture_holds(case: PictureCase, reference: PictureAnswer, answer: PictureAnswer) -> Held:
    """As `clip_holds`, for one picture. Of several annotators, the one nearest to the reference decides.

    Give both answers as they are used: `above` the score that counts.
    """
    truth = max(
        case.truths, key=lambda masks: sum(i for _, i in best_matches(masks, reference.masks).values())
    )
    was, now = best_matches(truth, reference.masks), best_matches(truth, answer.masks)
    held = sum(row in now and now[row][1] >= iou - MARGIN - ROUNDING for row, (_, iou) in was.items())
    return Held(held, len(was))


def best_matches(masks: Masks, others: Masks) -> dict[int, tuple[int, float]]:
    """Mask to its partner and their IoU, above 0; each used once, with the largest total IoU."""
    iou = masks.iou(others)
    return {row: (column, float(iou[row, column])) for row, column in assign(-iou) if iou[row, column] > 0}


def by_place(a: Clip, b: Clip, partners: dict[int, int]) -> list[tuple[int, int]]:
    """Pairs of identities as positions in `objects`: rows and columns of `overlaps`."""
    rows, columns = ({number: i for i, number in enumerate(clip.objects)} for clip in (a, b))
    return [(rows[number], columns[partner]) for number, partner in partners.items()]
