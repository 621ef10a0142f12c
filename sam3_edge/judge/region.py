"""J&F of DAVIS and SA-V: region IoU and boundary F, frame by frame, of each object through a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam3_edge.errors import SourceError
from sam3_edge.judge.assignment import assign
from sam3_edge.judge.boundary import boundary_f
from sam3_edge.judge.case import Clip, Masklet, Masks, Size

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ObjectScore:
    """One true object: its J and F, 0..1, and the identity that answers it (None: nobody does)."""

    identity: int
    partner: int | None
    j: float
    f: float


@dataclass(frozen=True)
class ClipScore:
    """The true objects of one clip, and how many answered identities belong to none of them."""

    objects: tuple[ObjectScore, ...]
    extra: int


@dataclass(frozen=True)
class JAndF:
    """Means over the objects of all clips, 0..1 (papers print × 100). Without objects they are None."""

    j: float | None
    f: float | None
    j_and_f: float | None
    objects: int
    extra: int

    @classmethod
    def of(cls, clips: Sequence[ClipScore]) -> JAndF:
        """Every object counts once, as in DAVIS and SA-V: a clip with more objects weighs more."""
        scores = [score for clip in clips for score in clip.objects]
        extra = sum(clip.extra for clip in clips)
        if not scores:
            return cls(None, None, None, 0, extra)
        j, f = (float(np.mean(values)) for values in zip(*((s.j, s.f) for s in scores), strict=True))
        return cls(j, f, (j + f) / 2, len(scores), extra)


def j_and_f(
    truth: Clip, answer: Clip, *, same_ids: bool, skip_ends: bool, from_first: bool = False
) -> ClipScore:
    """J and F of every true object that is seen in a scored frame.

    A frame where neither mask has a pixel counts 1 for both. `skip_ends` leaves out the clip's first and
    last frame; `from_first` also an object's leading frames, before the first where truth or answer has it.
    DAVIS semi-supervised is `same_ids, skip_ends`; SA-V val and test are these and `from_first`, on the
    labelled frames only (every fourth: give those as the clip).

    `same_ids`: identities are those of the truth, and one that is missing is empty masks. Otherwise they are
    the program's own and `pair` finds partners; an object without one scores 0 in every frame. (DAVIS
    unsupervised pairs by J&F instead, and scores such an object as empty masks: 1 where it is out of sight.)
    Identities beyond the true ones cost nothing, there as here; they are counted as `extra`.
    Raises `SourceError` if the answer's size or number of frames differs.
    """
    check_fit(truth, answer)
    frames = range(truth.frames)[1:-1] if skip_ends else range(truth.frames)
    truth, answer = (clip_of_frames(clip, frames) for clip in (truth, answer))
    partners = {i: i for i in truth.objects} if same_ids else pair(truth, answer)
    scores = []
    for identity, masklet in truth.objects.items():
        partner = partners.get(identity)
        if partner is None:
            scores.append(ObjectScore(identity, None, 0.0, 0.0))
            continue
        other = answer.objects.get(partner, (None,) * answer.frames)
        j, f = masklet_scores(masklet, other, size=truth.size, from_first=from_first)
        scores.append(ObjectScore(identity, partner if partner in answer.objects else None, j, f))
    return ClipScore(tuple(scores), len(set(answer.objects) - set(partners.values())))


def check_fit(truth: Clip, answer: Clip) -> None:
    """Raise `SourceError` where two clips differ in size or number of frames."""
    for clip in (truth, answer):
        if any(len(masklet) != clip.frames for masklet in clip.objects.values()):
            raise SourceError(
                f"clip of {clip.frames} frames: give every object a mask or None for each frame"
            )
    if (truth.size, truth.frames) != (answer.size, answer.frames):
        have, want = (f"{c.frames} frames of {c.size[1]}x{c.size[0]}" for c in (answer, truth))
        raise SourceError(
            f"clip: answered with {have}, but it has {want}: answer every frame in its own size"
        )


def clip_of_frames(clip: Clip, frames: range) -> Clip:
    """Some frames of a clip, and of its objects those seen there. Masks without a pixel become None."""
    cut = {
        number: tuple(runs if has_pixels(runs := masklet[frame], clip.size) else None for frame in frames)
        for number, masklet in clip.objects.items()
    }
    kept = {number: masklet for number, masklet in cut.items() if any(masklet)}
    return Clip(clip.size, len(frames), kept, {n: score for n, score in clip.scores.items() if n in kept})


def has_pixels(runs: bytes | None, size: Size) -> bool:
    return runs is not None and bool(runs) and bool(Masks(size, (runs,)).areas()[0])


def masklet_scores(truth: Masklet, answer: Masklet, *, size: Size, from_first: bool) -> tuple[float, float]:
    """Mean J and F of one object; a frame's mask is None or has a pixel."""
    frames = list(zip(truth, answer, strict=True))
    if from_first:
        first = next(i for i, masks in enumerate(frames) if any(masks))
        frames = frames[first:]
    scores = [frame_scores(*masks, size=size) if any(masks) else (1.0, 1.0) for masks in frames]
    j, f = np.mean(scores, axis=0).tolist()
    return j, f


def frame_scores(truth: bytes | None, answer: bytes | None, *, size: Size) -> tuple[float, float]:
    """J and F of one object in one frame; None is an empty mask, and one of the two is not."""
    a, b = (Masks(size, (runs,)).decode()[0] if runs else np.zeros(size, bool) for runs in (truth, answer))
    return float(np.count_nonzero(a & b) / np.count_nonzero(a | b)), boundary_f(a, b)


def overlaps(truth: Clip, answer: Clip) -> Floats:
    """IoU of every pair of identities in every frame: [frames, N, M], in the order of `objects`."""
    table = np.zeros((truth.frames, len(truth.objects), len(answer.objects)))
    rows, columns = ({number: i for i, number in enumerate(clip.objects)} for clip in (truth, answer))
    for frame in range(truth.frames):
        (seen, masks), (found, answers) = truth.at(frame), answer.at(frame)
        index = np.ix_([rows[number] for number in seen], [columns[number] for number in found])
        table[frame][index] = masks.iou(answers)
    return table


def presence(clip: Clip) -> NDArray[np.bool_]:
    """Which identity has a mask in which frame: [frames, N], in the order of `objects`."""
    seen = [[runs is not None for runs in masklet] for masklet in clip.objects.values()]
    return np.array(seen, bool).reshape(len(seen), clip.frames).T


def pair(truth: Clip, answer: Clip) -> dict[int, int]:
    """True identity to answered identity, each used once, with the largest total J over the clip.

    A frame in which both are out of sight counts 1, as in J, but identities that never share a pixel are
    no pair.
    """
    shared = overlaps(truth, answer).sum(0)
    both_out = (~presence(truth)).T.astype(np.float64) @ ~presence(answer)
    total = np.where(shared > 0, shared + both_out, 0)
    ids, others = list(truth.objects), list(answer.objects)
    return {ids[i]: others[j] for i, j in assign(-total) if shared[i, j] > 0}
