"""The pictures and questions on which an export is proved: generated, so every installation has them."""

from __future__ import annotations

import numpy as np

from sam3_edge.boxes import Box
from sam3_edge.concept import Concept
from sam3_edge.shapes import Scene, draw_scene

SEED = 20251119
SIZE = 224


def questions(scene: Scene) -> list[Concept]:
    """Phrases that are there, one that is not, a box alone, and a phrase with a box."""
    first, last = scene.items[0], scene.items[-1]
    missing = next(c for c in ("purple cross", "orange star", "red triangle") if not said(scene, c))
    box = Box.of(first.box)
    return [
        Concept(f"{first.colour} {first.shape}"),
        Concept(last.shape),
        Concept(missing),
        Concept(boxes=(box,)),
        Concept("shape", (Box.of(last.box, positive=False), box)),
    ]


def said(scene: Scene, phrase: str) -> bool:
    """Whether a "colour shape" phrase is true of some item."""
    return any(set(phrase.split()) <= item.words for item in scene.items)


def examples(count: int = 2) -> list[tuple[np.ndarray, list[Concept]]]:
    """`count` pictures with their questions, always the same."""
    rng = np.random.default_rng(SEED)
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = draw_scene(rng, size=SIZE)
        if len(scene.items) >= 3:
            scenes.append(scene)
    return [(scene.picture, questions(scene)) for scene in scenes]
