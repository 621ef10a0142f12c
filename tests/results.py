"""Results drawn by hand, for what is made of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam3_edge.concept import Concept
from sam3_edge.loop.events import FrameResult
from sam3_edge.segmentation import Segmentation

Mask = NDArray[np.bool_]


def disc(height: int, width: int, *, radius: float, hole: float = 0, x: float | None = None) -> Mask:
    """A disc, with a round hole if there is one, in the middle or around column `x`."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    away = np.hypot(rows - height / 2, columns - (width / 2 if x is None else x))
    inside: Mask = (away <= radius) & (away >= hole)
    return inside


def edges(masks: Mask) -> NDArray[np.float32]:
    """The boxes of masks [N, H, W], each with a pixel."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for row, mask in enumerate(masks):
        y, x = np.nonzero(mask)
        boxes[row] = x.min(), y.min(), x.max() + 1, y.max() + 1
    return boxes


def segmentation(phrase: str, *masks: Mask, size: tuple[int, int] = (30, 40)) -> Segmentation:
    """What was found of a phrase."""
    drawn = np.array(masks, bool).reshape(-1, *size)
    scores = np.linspace(0.875, 0.5, len(masks)).astype(np.float32)
    return Segmentation(Concept(phrase), drawn, edges(drawn), scores, 0.95)


def frame(index: int, **objects: tuple[int, str | None, Mask]) -> FrameResult:
    """A frame of 30 x 40 pixels: id, phrase and mask of each object; the keywords only tell them apart."""
    ids, concepts, masks = zip(*objects.values(), strict=True) if objects else ((), (), ())
    drawn = np.array(masks, bool).reshape(-1, 30, 40)
    scores = np.linspace(0.875, 0.5, len(ids)).astype(np.float32)
    return FrameResult(
        index, np.array(ids, np.int64), tuple(concepts), drawn, edges(drawn), scores, scores, ()
    )


def clip() -> list[FrameResult]:
    """Four frames: a dog that moves and is hidden on the third, and something drawn by hand on the last."""
    dogs = [(4, "dog", disc(30, 40, radius=5, x=8 + 4 * time)) for time in range(4)]
    hand = (7, None, disc(30, 40, radius=3, x=30))
    return [frame(0, dog=dogs[0]), frame(1, dog=dogs[1]), frame(2), frame(3, dog=dogs[3], hand=hand)]


MASKS = {
    "one pixel": np.ones((1, 1), bool),
    "empty": np.zeros((5, 3), bool),
    "full, in several runs": np.ones((200, 200), bool),
    "ring": disc(30, 40, radius=12, hole=5),
    "chessboard": np.indices((5, 6)).sum(0) % 2 == 0,
    "noise": np.random.default_rng(0).random((37, 53)) < 0.3,
    "noise of long runs": np.repeat(np.random.default_rng(1).random((64, 9)) < 0.5, 300, axis=1),
}
