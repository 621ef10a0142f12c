"""Simulated clicks on frozen pictures, by the usual protocol.

A first click into the middle of the object, every next one into the middle of the largest error of the mask
so far, on the object where it is missing, beside it where it is too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from sam3_edge import Box, Segmenter
from sam3_edge.judge.case import Masks
from sam3_edge.judge.clicking import next_click
from sam3_edge.judge.frozen_pictures import FrozenPicture
from sam3_edge.loop.prompts import Point
from sam3_edge.loop.regions import bounds
from sam3_edge.selection import Selection

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

CLICKS = 5
LEAST = 50  # pixels of an object: of less, nobody knows what was meant


def iou(a: Mask, b: Mask) -> float:
    """J: of two empty masks 1, as in DAVIS."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def click_at(truth: Mask, seen: Mask) -> Point | None:
    """The next click, in the centre of its pixel; None where nothing is wrong."""
    if (found := next_click(seen, truth)) is None:
        return None
    column, row, positive = found
    return Point(column + 0.5, row + 0.5, positive)


def objects_of(frozen: FrozenPicture) -> Masks:
    """Every object that a question about a picture is about, once, unless it is tiny."""
    size = frozen.picture.shape[:2]
    runs = dict.fromkeys(run for case in frozen.cases for run in case.truths[0].runs)
    masks = Masks((size[0], size[1]), tuple(runs))
    kept = zip(masks.runs, masks.areas(), strict=True)
    return Masks(masks.size, tuple(run for run, area in kept if area >= LEAST))


def clicked(selection: Selection, truth: Mask) -> list[float]:
    """IoU after each click, of the candidate that the model thinks best. Nobody clicks where all is right."""
    seen, reached = np.zeros_like(truth), []
    for _ in range(CLICKS):
        if (at := click_at(truth, seen)) is not None:
            selection.add(at.x, at.y, at.positive)
            seen = selection.masks[0]
        reached.append(iou(truth, seen))
    return reached


def boxed(selection: Selection, truth: Mask) -> float:
    """IoU after the object's true box alone."""
    top, bottom, left, right = bounds(truth)
    return iou(truth, selection.box(Box(left, top, right, bottom)).masks[0])


def on_pictures(
    model: Segmenter, pictures: Iterable[FrozenPicture], advance: Callable[[int], object]
) -> Floats:
    """[N, CLICKS + 1]: IoU of every object after each click, and after its box."""
    rows = []
    for frozen in pictures:
        embedding = model.embed(frozen.picture)
        for truth in objects_of(frozen).decode():
            reached = clicked(model.click(embedding), truth)
            rows.append([*reached, boxed(model.click(embedding), truth)])
        advance(1)
    return np.array(rows)
