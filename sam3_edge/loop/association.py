"""Which detections are of which tracks, for one concept on one frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sam3_edge.loop.regions import Bools, Floats, counts, overlap
from sam3_edge.loop.settings import Settings


@dataclass(frozen=True)
class Association:
    """Detections and tracks by their places. Both may match several of the others.

    new: detections that are objects of their own; matched: for each detection its tracks, rising; unmatched:
    tracks that are seen and not covered; empty: tracks that are not seen; sure: for a track the last of the
    detections that are good enough to recondition it.
    """

    new: tuple[int, ...] = ()
    matched: dict[int, tuple[int, ...]] = field(default_factory=dict)
    unmatched: tuple[int, ...] = ()
    empty: tuple[int, ...] = ()
    sure: dict[int, int] = field(default_factory=dict)

    def detections(self, track: int) -> tuple[int, ...]:
        """The detections that match a track."""
        return tuple(d for d, tracks in self.matched.items() if track in tracks)


def places(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Where a vector is true."""
    return tuple(int(i) for i in np.flatnonzero(mask))


def associate(scores: Floats, detections: Bools, tracks: Bools, settings: Settings) -> Association:
    """Detections [N, S, S] with scores [N] against tracks [M, S, S].

    Without any track every detection is new, whatever it scores.
    """
    if not len(tracks):
        return Association(new=tuple(range(len(scores))))
    seen = counts(tracks) > 0
    if not len(detections):
        return Association(unmatched=places(seen), empty=places(~seen))
    iou = overlap(detections, tracks)
    hits, covered = iou >= settings.match, (iou >= settings.cover).any(axis=0)
    new: Bools = (scores >= settings.birth) & ~hits.any(axis=1)
    sure = (scores >= settings.sure_score) & ~new & (iou.max(1) >= settings.sure_iou)
    best = iou.argmax(1)
    return Association(
        new=places(new),
        matched={d: places(row) for d, row in enumerate(hits) if row.any()},
        unmatched=places(np.logical_and(seen, ~covered)),
        empty=places(~seen),
        sure={int(best[d]): d for d in places(sure)},
    )


def room(new: tuple[int, ...], scores: Floats, *, free: int) -> tuple[int, ...]:
    """The new detections that there is room for: all in their order, or the best, best first."""
    if len(new) <= free:
        return new
    order = scores[list(new)].argsort()[::-1]
    return tuple(new[i] for i in order[: max(free, 0)])
