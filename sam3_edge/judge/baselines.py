"""Programs that must fail on the frozen sets: if a simple rule answers a set, the set proves nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sam3_edge.concept import Concept
from sam3_edge.judge.assignment import assign
from sam3_edge.judge.case import Clip, Masks, PictureAnswer, Size
from sam3_edge.loop.components import label
from sam3_edge.shapes.scenes import COLOURS

NEAR = 40.0  # distance in RGB to a named colour; of 30 to 120 about the best on pictures like these
LEAST = 120  # pixels of an object
SAME = 0.3  # mask IoU from which two frames show one object


def by_colour(picture: NDArray[np.uint8], concept: Concept) -> PictureAnswer:
    """Every connected patch of the colour that the phrase names, or that is in the middle of a positive box.

    A phrase that names no colour gets the patches of all colours. Shape and texture are not looked at.
    """
    palette = np.array(list(COLOURS.values()), np.float32)
    pixels = picture.astype(np.float32)
    far = np.linalg.norm(pixels[:, :, None] - palette, axis=-1)
    named = [name for name in COLOURS if name in concept.text.split()]
    for box in concept.boxes:
        if box.positive and not named:
            x0, y0, x1, y1 = box.edges
            middle = far[int(y0 + y1) // 2, int(x0 + x1) // 2]
            named = [list(COLOURS)[int(middle.argmin())]]
    masks = [
        patch
        for number in ([list(COLOURS).index(name) for name in named] or range(len(COLOURS)))
        for patch in patches((far.argmin(-1) == number) & (far[..., number] < NEAR))
    ]
    found = Masks.of(np.array(masks, bool).reshape(-1, *picture.shape[:2]))
    return PictureAnswer(found, (1.0,) * len(found))


def patches(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The connected components that are big enough to be an object."""
    labels, areas = label(mask)
    return [labels == number + 1 for number in np.flatnonzero(areas >= LEAST)]


def by_overlap(frames: Sequence[PictureAnswer], size: Size) -> Clip:
    """Detections of each frame joined to those of the frame before by mask IoU alone: no memory, no motion.

    An object that is missed on one frame comes back under another identity.
    """
    masklets: list[list[bytes | None]] = []
    before, last = Masks(size), list[int]()
    for time, found in enumerate(frames):
        iou = before.iou(found.masks)
        known = {column: last[row] for row, column in assign(-iou) if iou[row, column] >= SAME}
        last = []
        for place, runs in enumerate(found.masks.runs):
            if place not in known:
                known[place] = len(masklets)
                masklets.append([None] * len(frames))
            masklets[known[place]][time] = runs
            last.append(known[place])
        before = found.masks
    objects = {number: tuple(masklet) for number, masklet in enumerate(masklets)}
    return Clip(size, len(frames), objects, dict.fromkeys(objects, 1.0))
