"""What a frame shows, and what happened on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sam3_edge.result import Result

Kind = Literal[
    "birth",  # an object begins: from detection `about[0]`, or by hand without one
    "match",  # detections `about` are of the object
    "unmatched",  # the object is seen and no detection covers it
    "empty",  # the object is tracked and not seen
    "hole",  # holes or sprinkles were taken out of its mask
    "nms",  # detections `about`, counted before, gave way to better ones
    "recondition",  # detection `about[0]` becomes a conditioning memory
    "suppression",  # the object gives way to the objects `about` that it overlaps
    "shrink",  # the others leave too little of the object: this frame is remembered as empty
    "hidden",  # unmatched for too long: tracked, not shown
    "retraction",  # the object was never there: no detection bears it out, or it is the same as `about[0]`
    "removal",  # the object was taken away by the caller
    "correction",  # the object was corrected by the caller
    "dropped",  # detections `about` would be objects, but there are as many as there may be
]


NAMELESS = "object"  # what is drawn by hand is called, as in `selection`


@dataclass(frozen=True)
class Event:
    """Something that happened on a frame. `id` is an object's, -1 where no object is meant.

    `about` are other objects' ids, or detections: their places among those of `concept` that were kept on
    this frame, in the order of the model's queries.
    """

    kind: Kind
    id: int = -1
    about: tuple[int, ...] = ()
    concept: str | None = None


@dataclass(frozen=True, eq=False)
class FrameResult(Result):
    """The objects of one frame, by rising id.

    ids int64 [N]; concepts, each object's phrase, None for one that was added by hand without; masks bool
    [N, H, W]; boxes float32 [N, 4], xyxy, the edges of all pixels of the object, also of those that another
    object of its concept hides; scores float32 [N], of the detection that the object was born from, 1 for one
    added by hand; presence float32 [N], how sure the tracker is to see it on this frame, 0 to 1.
    """

    index: int
    ids: NDArray[np.int64]
    concepts: tuple[str | None, ...]
    masks: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    presence: NDArray[np.float32]
    events: tuple[Event, ...]

    @property
    def object_ids(self) -> NDArray[np.int64]:
        """`ids`, under the name that other video processors give them."""
        return self.ids

    @property
    def prompt_to_obj_ids(self) -> dict[str, list[int]]:
        """The ids of each phrase's objects, as other video processors tell them."""
        named: dict[str, list[int]] = {}
        for id, concept in zip(self.ids.tolist(), self.concepts, strict=True):
            if concept is not None:
                named.setdefault(concept, []).append(id)
        return named

    @property
    def classes(self) -> tuple[str, ...]:
        """The concepts of the objects that are seen."""
        return tuple(dict.fromkeys(self.names))

    @property
    def names(self) -> tuple[str, ...]:
        """Each object's concept, `object` for one without."""
        return tuple(concept or NAMELESS for concept in self.concepts)
