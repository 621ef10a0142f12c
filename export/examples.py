"""What an export is proved on, pictures, questions and tracks: generated, so all installations have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sam3_edge.boxes import Box
from sam3_edge.concept import Concept
from sam3_edge.engines.rehearsal import OBJECTS, rehearse
from sam3_edge.golden_clip import CLICKED, Clip
from sam3_edge.loop.prompts import Point
from sam3_edge.session import Session, Value
from sam3_edge.shapes.clips import draw_frame
from sam3_edge.shapes.questions import spoken
from sam3_edge.shapes.scenes import Scene, draw_scene
from sam3_edge.shapes.scripts import write_script
from sam3_edge.spec import ModelConfig

SEED = 20251119
SIZE = 224
PICTURES = 2
# Of the clip: four frames of a SAM 3 at 1008 px take two minutes of a processor, in PyTorch and once lowered.
FRAMES, EVERY, SIDE = 4, 2, 160
LEVELS = np.uint8(0xE0)  # eight to a channel: 15 KB for four frames, not 65


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


def example_clip(phrases: Sequence[str] | None = None) -> Clip:
    """The clip, always the same: two look-alikes that will cross, asked for by name, and another by hand."""
    rng = np.random.default_rng(SEED)
    script = write_script(rng, ("crossing", "look-alikes"), size=SIDE, frames=16 * EVERY + 1)
    script = replace(script, grain=0)
    words = next(actor.words for actor in script.actors if "look-alikes" in actor.events)
    drawn = [draw_frame(script, EVERY * number) for number in range(FRAMES)]
    frames = tuple((frame.picture & LEVELS) + np.uint8(16) for frame in drawn)
    row, column = (int(places.mean()) for places in np.nonzero(drawn[CLICKED].masks[0]))
    phrase = spoken(rng, words) if phrases is None else phrases[0]
    return Clip(frames, phrase, drawn[0].masks[0], Point(column + 0.5, row + 0.5))


def track(session: Session, config: ModelConfig, trunks: Sequence[Value]) -> None:
    """Run every graph of the tracker twice, for one object and for two, on two frames' trunk features."""
    if len(trunks) < 2:
        return  # the comparison names the graph that no example reached
    for objects in (1, OBJECTS):
        rehearse(session, config, trunks, objects)
