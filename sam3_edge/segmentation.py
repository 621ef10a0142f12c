"""What was found in a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam3_edge.concept import Concept
from sam3_edge.result import Result

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Segmentation(Result):
    """The objects of one concept in one picture, best score first.

    masks bool [N, H, W]; boxes float32 [N, 4], xyxy in pixels as predicted, perhaps a hair over the edge;
    scores float32 [N], above the threshold; presence, how likely the concept is there at all, 0 to 1;
    semantic float32 [S, S], logits of the concept's mask as a whole before upsampling, if it was asked for.
    """

    concept: Concept
    masks: NDArray[np.bool_]
    boxes: Floats
    scores: Floats
    presence: float
    semantic: Floats | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The one concept."""
        return (str(self.concept),)

    @property
    def names(self) -> tuple[str, ...]:
        """Its name, for each object."""
        return self.classes * len(self)
