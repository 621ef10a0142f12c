"""From what the loop knows of a frame to what a user sees of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sam3_edge.loop.events import Event, FrameResult
from sam3_edge.loop.regions import Bools, Floats
from sam3_edge.resize import enlarge, line, window
from sam3_edge.stopwatch import timed


@dataclass(frozen=True, eq=False)
class Shown:
    """One object on one frame: its mask's logits [S, S], and the numbers that are shown with it."""

    concept: str | None
    logits: Floats
    score: float
    presence: float


@dataclass(eq=False)
class Draft:
    """A frame before it is shown: all objects by rising id, also those that may turn out never to have been.

    `hidden` are ids that are not shown on this frame.
    """

    index: int
    size: tuple[int, int]
    objects: dict[int, Shown] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)


@timed("show")
def render(draft: Draft, *, never: Collection[int] = ()) -> FrameResult:
    """Masks of the frame's size. Objects without a pixel are left out, and so are those that `never` were.

    Where objects of one concept overlap, the one that is more surely present has the pixel.
    """
    unseen = {*draft.hidden, *never}
    wanted = {id: it for id, it in draft.objects.items() if id not in unseen and (it.logits > 0).any()}
    small = [it.logits for it in wanted.values()]
    masks = enlarge(small, *draft.size)
    boxes = np.array([box(*pair) for pair in zip(masks, small, strict=True)], np.int64).reshape(-1, 4)
    shown = boxes[:, 2] > 0
    if not shown.all():
        masks, boxes = masks[shown], boxes[shown]
    kept = [item for item, keep in zip(wanted.items(), shown, strict=True) if keep]
    concepts = tuple(it.concept for _, it in kept)
    presence = np.array([it.presence for _, it in kept], np.float32)
    exclude(masks, boxes, presence, concepts)
    return FrameResult(
        draft.index,
        np.array([id for id, _ in kept], np.int64),
        concepts,
        masks,
        boxes.astype(np.float32),
        np.array([it.score for _, it in kept], np.float32),
        presence,
        tuple(event for event in draft.events if event.id not in never),
    )


def box(mask: Bools, logits: Floats) -> tuple[int, int, int, int]:
    """Edges x0, y0, x1, y1 of a mask [H, W] that was made of the logits; zeros for an empty one."""
    x, y = line(logits.shape[1], mask.shape[1]), line(logits.shape[0], mask.shape[0])
    top, bottom, left, right = window(logits, x, y)
    part = mask[top:bottom, left:right]
    if (above := empty_lines(part)) == len(part):
        return 0, 0, 0, 0
    before, behind, below = (empty_lines(lines) for lines in (part.T, part.T[::-1], part[::-1]))
    return left + before, top + above, right - behind, bottom - below


def empty_lines(lines: Bools) -> int:
    """How many lines there are before the first with a pixel. Few: a mask's window fits closely."""
    for place, pixels in enumerate(lines):
        if pixels.any():
            return place
    return len(lines)


def exclude(
    masks: Bools, boxes: NDArray[np.int64], presence: Floats, concepts: tuple[str | None, ...]
) -> None:
    """Take from every mask [N, H, W] the pixels of better ones of its concept; the first of equals wins."""
    order = np.argsort(-presence, kind="stable")
    for rank, i in enumerate(order):
        for j in order[:rank]:
            if concepts[i] != concepts[j]:
                continue
            x0, y0 = np.maximum(boxes[i, :2], boxes[j, :2])
            x1, y1 = np.minimum(boxes[i, 2:], boxes[j, 2:])
            if x0 < x1 and y0 < y1:
                masks[i, y0:y1, x0:x1] &= ~masks[j, y0:y1, x0:x1]
