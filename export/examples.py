"""What an export is proved on, pictures, questions and tracks: generated, so all installations have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sam3_edge.boxes import Box
from sam3_edge.concept import Concept
from sam3_edge.session import Session, Value
from sam3_edge.shapes.scenes import Scene, draw_scene
from sam3_edge.spec import MASKED, ModelConfig

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
    """Run every graph of the tracker twice, for one object and for two, on two frames' trunk features.

    An object is born of a rectangle on the first frame, found on the second, remembered and then corrected.
    """
    if len(trunks) < 2:
        return  # the comparison names the graph that no example reached
    first, second = (session.run("tracker_features", {"trunk_feature": trunk}) for trunk in trunks[:2])
    for objects in (1, 2):
        bank = birth(session, config, first, objects)
        queries = without(second, "tracker_1x")
        found = session.run("tracker_step", {**queries, **bank})
        remember(session, second, found["mask"][:, None], hard=False)
        session.run("tracker_refine", {**without(second, "tracker_queries"), **clicks(config, found["mask"])})


def without(features: Mapping[str, Value], name: str) -> dict[str, Value]:
    """All but one of a frame's features."""
    return {key: value for key, value in features.items() if key != name}


def birth(
    session: Session, config: ModelConfig, features: Mapping[str, Value], objects: int
) -> dict[str, Value]:
    """The banks of new objects, each a rectangle elsewhere: one memory and one pointer in the last slots."""
    c, side = config, 4 * config.mask_size
    drawn = np.zeros((objects, 1, side, side), np.float32)
    for i, mask in enumerate(drawn[:, 0]):
        mask[side // 4 : side // 2, side * i // 2 : side * (i + 1) // 2 - 4] = 1
    made = session.run("tracker_init", {**without(features, "tracker_queries"), "mask": drawn})
    memory = remember(session, features, 20 * drawn[..., ::4, ::4] - 10, hard=True)
    bank = {
        "memory": np.zeros((objects, c.memory_slots, c.grid**2, c.memory_dim), np.float32),
        "memory_time": np.full((objects, c.memory_slots), c.memory_times - 1, np.int32),
        "memory_bias": np.full((objects, c.memory_slots), MASKED, np.float32),
        "pointers": np.zeros((objects, c.pointer_slots, c.dim), np.float32),
        "pointer_time": np.full((objects, c.pointer_slots), 1 / 15, np.float32),
        "pointer_bias": np.full((objects, c.pointer_slots), MASKED, np.float32),
    }
    bank["memory"][:, -1], bank["pointers"][:, -1] = session.fetch(memory), session.fetch(made["pointer"])
    bank["memory_bias"][:, -1] = bank["pointer_bias"][:, -1] = 0
    return bank


def remember(session: Session, features: Mapping[str, Value], mask: Value, *, hard: bool) -> Value:
    """The memories of masks [B, 1, 4G, 4G]."""
    sure = np.full(len(mask), float(hard), np.float32)
    feeds = {"tracker_1x": features["tracker_1x"], "mask": mask, "present": np.ones_like(sure), "hard": sure}
    return session.run("memorize", feeds)["memory"]


def clicks(config: ModelConfig, mask: NDArray[np.float32]) -> dict[str, Value]:
    """A good and a bad click on every object; all but the first forget the mask so far."""
    c, objects = config, len(mask)
    points = np.zeros((objects, c.points, 2), np.float32)
    points[:, 0], points[:, 1] = 0.4 * c.image_size, 0.7 * c.image_size
    labels = np.full((objects, c.points), -1, np.int32)
    labels[:, 0], labels[:, 1] = 1, 0
    bias = np.full((objects, c.points), MASKED, np.float32)
    bias[:, :3] = 0  # the third closes the list
    return {
        "points": points,
        "labels": labels,
        "point_bias": bias,
        "previous": mask[:, None].clip(-32, 32),
        "has_previous": (np.arange(objects) == 0).astype(np.float32),
    }
