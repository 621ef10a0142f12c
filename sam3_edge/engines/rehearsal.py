"""Every graph of the tracker run once in a fixed order, and whether its answers are those of the model.

Golden pictures ask the detector alone. Here an object is born of a rectangle on one frame, found on the next,
remembered and corrected; both frames are the first golden picture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError
from sam3_edge.golden import read_golden
from sam3_edge.picture import prepare
from sam3_edge.session import Session, Value
from sam3_edge.spec import MASKED, ModelConfig

ANSWERS = "golden/tracked.json"
OBJECTS = 2
DRAWN = ("mask", "masks")  # outputs that are mask logits: compared by the pixels that they set
Answers = Mapping[str, Mapping[str, NDArray[np.float32]]]  # by graph and output


def rehearse(session: Session, config: ModelConfig, trunks: Sequence[Value], objects: int) -> Answers:
    """Run every graph of the tracker for some objects, on two frames' trunk features."""
    first, second = (session.run("tracker_features", {"trunk_feature": trunk}) for trunk in trunks[:2])
    bank = birth(session, config, first, objects)
    found = session.run("tracker_step", {**without(second, "tracker_1x"), **bank})
    mask = session.fetch(found["mask"])
    remember(session, second, mask[:, None], hard=False)
    refined = session.run("tracker_refine", {**without(second, "tracker_queries"), **clicks(config, mask)})
    graphs = {"tracker_step": found, "tracker_refine": refined}
    return {
        graph: {name: session.fetch(value) for name, value in out.items()} for graph, out in graphs.items()
    }


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
        "memory": np.zeros((objects, c.memory_slots, c.memory_tokens, c.memory_dim), np.float32),
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


def write_tracked(folder: Path, answers: Answers) -> None:
    """Keep the model's answers in the bundle at `folder`, before it is sealed."""
    rows = {
        graph: {name: packed(name, value) for name, value in out.items()} for graph, out in answers.items()
    }
    (folder / ANSWERS).write_text(json.dumps(rows, indent=1) + "\n", encoding="ascii")


def packed(name: str, value: NDArray[np.float32]) -> list[Any]:
    """Numbers as they are, masks as COCO run lengths."""
    if name not in DRAWN:
        return list(value.tolist())
    flat = value.reshape(-1, *value.shape[-2:]).transpose(1, 2, 0) > 0
    return [one["counts"].decode() for one in rle.encode(np.asfortranarray(flat.astype(np.uint8)))]


def worst(bundle: Bundle, session: Session) -> dict[str, float]:
    """How far a session's tracker is from the model's: the worst mask IoU, the largest relative error.

    Raises `CheckError` for a bundle that was exported without the model's answers.
    """
    if all(file.path != ANSWERS for file in bundle.files):
        raise CheckError(
            f"bundle {bundle.path}: it has no {ANSWERS}, so its tracker cannot be judged: export again"
        )
    wanted = json.loads(bundle.file(ANSWERS).read_bytes())
    image = prepare(read_golden(bundle)[0].picture, bundle.config.image_size)
    trunk = session.run("backbone", {"image": image})["trunk_feature"]
    got = rehearse(session, bundle.config, [trunk, trunk], OBJECTS)
    ious, errors = [], []
    for graph, out in wanted.items():
        for name, want in out.items():
            value = got[graph][name]
            if name in DRAWN:
                ious += overlaps(want, packed(name, value), value.shape[-2:])
            else:
                scale = max(float(np.linalg.norm(want)), 1e-6)
                errors.append(float(np.linalg.norm(value.astype(np.float64) - want)) / scale)
    return {"mask_iou": min(ious), "relative": max(errors)}


def overlaps(want: Sequence[str], got: Sequence[str], size: tuple[int, ...]) -> list[float]:
    """IoU of each mask with its own; 1 for two empty ones."""
    found = []
    for a, b in zip(want, got, strict=True):
        one, other = ({"size": list(size), "counts": counts} for counts in (a, b))
        empty = not rle.area(one) and not rle.area(other)
        found.append(1.0 if empty else float(rle.iou([one], [other], [0])[0, 0]))
    return found
