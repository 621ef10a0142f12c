"""pHOTA, identity switches and MOTA over (clip, phrase) cases, as TrackEval counts them for SA-Co VEval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sam3_edge.judge.assignment import assign
from sam3_edge.judge.case import Clip, ClipCase
from sam3_edge.judge.region import check_fit, clip_of_frames, overlaps, presence

Floats = NDArray[np.float64]

ALPHAS = np.arange(0.05, 0.99, 0.05)  # the IoU thresholds, 0.05..0.95; exactly these doubles decide ties
SAME = 0.5  # IoU from which CLEAR takes two masks for one object
CLEAR = ("clear_hits", "clear_misses", "clear_extras", "switches")
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Counts:
    """What one case adds. Counts of several cases are added, so a bootstrap may draw cases again.

    Each is [19], one value for each of `ALPHAS`; those of CLEAR are [1].
    """

    hits: Floats
    misses: Floats
    extras: Floats
    overlap: Floats  # IoU summed over hits
    association: Floats  # over hits: IoU of the two identities' sets of frames
    association_recall: Floats
    association_precision: Floats
    clear_hits: Floats
    clear_misses: Floats
    clear_extras: Floats
    switches: Floats

    @classmethod
    def total(cls, counts: Sequence[Counts]) -> Counts:
        """The sum; zeros for none."""
        names = [field.name for field in fields(cls)]
        zeros = {name: np.zeros(1 if name in CLEAR else len(ALPHAS)) for name in names}
        return cls(
            **{name: np.sum([zeros[name], *(getattr(c, name) for c in counts)], axis=0) for name in names}
        )


@dataclass(frozen=True)
class Hota:
    """Scores, 0..1, each the mean over `ALPHAS` of the value combined over all cases. MOTA may be negative.

    As in TrackEval, cases with nothing in them score 0, and LocA is 1 where nothing was matched.
    """

    hota: float
    det_a: float
    ass_a: float
    loc_a: float
    det_recall: float
    det_precision: float
    ass_recall: float
    ass_precision: float
    mota: float
    switches: int

    @classmethod
    def of(cls, counts: Sequence[Counts]) -> Hota:
        """From the sums over cases, not from means of the cases' scores."""
        c = Counts.total(counts)
        hits = np.maximum(1, c.hits)
        det_a, ass_a = c.hits / np.maximum(1, c.hits + c.misses + c.extras), c.association / hits
        true = np.maximum(1, c.clear_hits + c.clear_misses)
        values = {
            "hota": np.sqrt(det_a * ass_a),
            "det_a": det_a,
            "ass_a": ass_a,
            "loc_a": np.where(c.hits > 0, c.overlap / hits, 1),
            "det_recall": c.hits / np.maximum(1, c.hits + c.misses),
            "det_precision": c.hits / np.maximum(1, c.hits + c.extras),
            "ass_recall": c.association_recall / hits,
            "ass_precision": c.association_precision / hits,
            "mota": (c.clear_hits - c.clear_extras - c.switches) / true,
        }
        means = {name: float(np.mean(value)) for name, value in values.items()}
        return cls(**means, switches=round(float(c.switches[0])))


@dataclass(frozen=True)
class Scene:
    """One frame: which of the case's identities are seen, as indices, and the IoU of each with each."""

    rows: NDArray[np.intp]  # [n], true
    columns: NDArray[np.intp]  # [m], answered
    iou: Floats  # [n, m]


def tally(case: ClipCase, answer: Clip) -> Counts:
    """Count one case. Which identities answer at all (SA-Co VEval: score > 0.5) is the caller's choice.

    A mask without a pixel is not an object. Raises `SourceError` where the answer does not fit the clip.
    """
    check_fit(case.truth, answer)
    truth, answer = (clip_of_frames(clip, range(clip.frames)) for clip in (case.truth, answer))
    seen, found, table = presence(truth), presence(answer), overlaps(truth, answer)
    scenes = [
        Scene(
            rows := np.flatnonzero(seen[t]), columns := np.flatnonzero(found[t]), table[t][rows][:, columns]
        )
        for t in range(truth.frames)
    ]
    return Counts(
        **hota_counts(scenes, seen.sum(0), found.sum(0)), **clear_counts(scenes, len(truth.objects))
    )


def hota_counts(scenes: list[Scene], seen: NDArray[np.intp], found: NDArray[np.intp]) -> dict[str, Floats]:
    """The [19] fields of `Counts`; `seen` [N] and `found` [M] are each identity's frames."""
    either = (seen[:, None] + found).astype(np.float64)
    together = np.zeros((len(ALPHAS), *either.shape))
    overlap = np.zeros(len(ALPHAS))
    for scene, rows, columns in matched(scenes, alignment(scenes, either)):
        iou = scene.iou[rows, columns]
        hit = iou >= ALPHAS[:, None] - EPS
        overlap += hit @ iou
        together[:, scene.rows[rows], scene.columns[columns]] += hit
    hits = together.sum((1, 2))

    def association(sizes: NDArray[np.generic] | Floats) -> Floats:
        return np.asarray((together * together / np.maximum(1, sizes)).sum((1, 2)), np.float64)

    return {
        "hits": hits,
        "misses": seen.sum() - hits,
        "extras": found.sum() - hits,
        "overlap": overlap,
        "association": association(either - together),
        "association_recall": association(seen[:, None]),
        "association_precision": association(found[None]),
    }


def alignment(scenes: list[Scene], either: Floats) -> Floats:
    """How well two identities go together over the clip [N, M]: a soft IoU of their sets of frames.

    In each frame a pair counts its IoU over all IoU that the two have with anybody, so crowds count less.
    """
    shared = np.zeros(either.shape)
    for scene in scenes:
        around = scene.iou.sum(0) + scene.iou.sum(1)[:, None] - scene.iou
        share = np.divide(scene.iou, around, out=np.zeros_like(scene.iou), where=around > EPS)
        shared[np.ix_(scene.rows, scene.columns)] += share
    return shared / (either - shared)


def matched(
    scenes: list[Scene], aligned: Floats
) -> Iterator[tuple[Scene, NDArray[np.intp], NDArray[np.intp]]]:
    """Each frame's matches, as rows and columns of its `iou`: one matching serves all thresholds."""
    for scene in scenes:
        pairs = assign(-aligned[np.ix_(scene.rows, scene.columns)] * scene.iou)
        index = np.array(pairs, np.intp).reshape(-1, 2)
        yield scene, index[:, 0], index[:, 1]


def clear_counts(scenes: list[Scene], identities: int) -> dict[str, Floats]:
    """The CLEAR fields of `Counts`.

    A match of the frame before is kept while its IoU reaches `SAME`; the others go by the largest total IoU.
    A switch is an object matched by another identity than the last time it was matched, however long ago.
    Frames without true objects or without answers are passed over, so they do not break a match.
    """
    last = np.full(identities, -1)
    before = np.full(identities, -1)
    hits = switches = 0
    for scene in scenes:
        if not scene.iou.size:
            continue
        continued = before[scene.rows][:, None] == scene.columns
        # 1000: one continued match outweighs any IoU that a frame can add up to.
        value = np.where(scene.iou >= SAME - EPS, 1000 * continued + scene.iou, 0)
        index = np.array([p for p in assign(-value) if value[p] > EPS], np.intp).reshape(-1, 2)
        objects, answers = scene.rows[index[:, 0]], scene.columns[index[:, 1]]
        switches += int(((last[objects] >= 0) & (last[objects] != answers)).sum())
        before[:] = -1
        last[objects] = before[objects] = answers
        hits += len(index)
    true, given = sum(len(s.rows) for s in scenes), sum(len(s.columns) for s in scenes)
    values = (hits, true - hits, given - hits, switches)
    return {name: np.array([value], np.float64) for name, value in zip(CLEAR, values, strict=True)}
