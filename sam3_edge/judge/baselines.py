"""Programs that must fail on the frozen sets: if a simple rule answers a set, the set proves nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam3_edge.components import label
from sam3_edge.concept import Concept
from sam3_edge.judge.case import Masks, PictureAnswer
from sam3_edge.shapes import COLOURS

NEAR = 40.0  # distance in RGB to a named colour; of 30 to 120 about the best on pictures like these
LEAST = 120  # pixels of an object


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
