"""Single frames of clips as scenes to ask about: what a detector sees of things that turn, hide and cross.

Trained on scenes alone the built-in model missed a third of what is visible on frames of clips (score and IoU
above 0.5): they show it more hidden than scenes ever do, and drawn from sprites.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam3_edge.shapes.clips import Actor, Frame, draw_frame
from sam3_edge.shapes.scenes import COLOURS, SHAPES, TEXTURES, UNSEEN, Item, Scene
from sam3_edge.shapes.scripts import KINDS, write_script

COMMON = 0.35  # how likely a kind of event is in a clip


def draw_clip_scene(rng: np.random.Generator, size: int) -> Scene:
    """Any frame of a new clip on which something is seen. Nothing of `UNSEEN` is drawn."""
    while True:
        kinds = [kind for kind in KINDS if rng.random() < COMMON]
        script = write_script(rng, kinds, size=size, withheld=UNSEEN)
        frame = draw_frame(script, int(rng.integers(script.frames)))
        scene = scene_of(script.actors, frame)
        if scene.items:
            return scene


def scene_of(actors: tuple[Actor, ...], frame: Frame) -> Scene:
    """The frame, with an item for every actor that is seen and has a name: bars have none."""
    seen = [
        item_of(actor.words, mask)
        for actor, mask in zip(actors, frame.masks, strict=True)
        if actor.words and mask.any()
    ]
    return Scene(frame.picture, tuple(seen))


def item_of(words: frozenset[str], mask: NDArray[np.bool_]) -> Item:
    """What is visible of an actor."""
    shape, colour, texture = (
        next(word for word in family if word in words) for family in (SHAPES, COLOURS, TEXTURES)
    )
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return Item(shape, colour, texture, mask, box)
