"""What an export is proved on, pictures, questions and tracks: generated, so all installations have them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sam3_edge.boxes import Box
from sam3_edge.concept import Concept
from sam3_edge.engines.rehearsal import OBJECTS, rehearse
from sam3_edge.session import Session, Value
from sam3_edge.shapes.scenes import Scene, draw_scene
from sam3_edge.spec import ModelConfig

SEED = 20251119
SIZE = 224
PICTURES = 2


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


def examples(phrases: Sequence[str] | None = None) -> list[tuple[NDArray[np.uint8], list[Concept]]]:
    """The pictures with their questions, always the same. `phrases`: all that the model can be asked."""
    rng = np.random.default_rng(SEED)
    found: list[tuple[NDArray[np.uint8], list[Concept]]] = []
    while len(found) < PICTURES:
        scene = draw_scene(rng, size=SIZE)
        if len(scene.items) >= 3:
            asked = questions(scene)
            if phrases is not None:
                asked = [*map(Concept, phrases[:3]), *(c for c in asked if c.phrase is None)]
            found.append((scene.picture, asked))
    return found


def track(session: Session, config: ModelConfig, trunks: Sequence[Value]) -> None:
    """Run every graph of the tracker twice, for one object and for two, on two frames' trunk features."""
    if len(trunks) < 2:
        return  # the comparison names the graph that no example reached
    for objects in (1, OBJECTS):
        rehearse(session, config, trunks, objects)
