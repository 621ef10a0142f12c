"""Reads `recordings/image.*`: what the official image model answered, with everything needed to ask again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .seeded import Weights, seeded_weights

Floats = NDArray[np.float32]
Arrays = Mapping[str, NDArray[Any]]

FOLDER = Path(__file__).parent / "recordings"
# Big maps keep every third row and column: 3 is prime to 2 and 4, so every phase of an upsampling is seen.
STEP = 3
# What the same code may differ by on another processor: its kernels sum in another order.
TOLERANCE = 1e-5
# Through sixty frames of what was remembered before, rounded to bfloat16: 4e-4 between two x86-64 machines.
REMEMBERED = {"quality": 1e-4, "pointer": 1e-3, "memory": 1e-3}
FLIPPED = 1e-5  # of mask pixels: those whose logit is 0 but for rounding
MISCOUNTED = 1e-3  # of holes: a flipped pixel makes one larger, or two of it


def thinned(maps: NDArray[Any]) -> NDArray[Any]:
    """Every third row and column of [..., H, W]: what a recording keeps of big maps."""
    return maps[..., ::STEP, ::STEP]


@dataclass(frozen=True)
class Picture:
    """One picture, and what does not depend on the question. G is the grid side, 16."""

    pixels: NDArray[np.uint8]  # [H, W, 3], RGB
    image: Floats  # [1, 3, 224, 224]: resized and normalised
    trunk_feature: Floats  # [1, G * G, C]
    features_4x: Floats  # [1, D, 4 * G, 4 * G], thinned
    features_2x: Floats  # [1, D, 2 * G, 2 * G], thinned
    features_1x: Floats  # [1, D, G, G]


@dataclass(frozen=True)
class Raw:
    """What the networks answered, for all N queries."""

    text_tokens: Floats  # [1, 32, D]
    exemplar_tokens: Floats  # [1, K + 1, D]: boxes in the order given, then CLS
    encoded: Floats  # [1, G * G, D]
    queries: Floats  # [1, N, D], of the last decoder layer
    boxes: Floats  # [1, N, 4], cxcywh in [0, 1]
    logits: Floats  # [1, N]
    presence: Floats  # [1, 1], a logit
    masks: Floats  # [1, N, 4 * G, 4 * G] logits, thinned
    semantic: Floats  # [1, 1, 4 * G, 4 * G] logits, thinned


@dataclass(frozen=True)
class Found:
    """What a user sees: the queries with sigmoid(logit) * sigmoid(presence) > 0.5, in query order."""

    masks: NDArray[np.bool_]  # [F, H, W]
    boxes: Floats  # [F, 4], xyxy in pixels of the picture; may reach beyond it
    scores: Floats  # [F]


@dataclass(frozen=True)
class Case:
    """One question about one picture. Without a phrase the official code asks for the word "visual"."""

    name: str
    picture: Picture
    phrase: str | None
    token_ids: NDArray[np.int32]  # [1, 32]: start, words, end, then 0
    boxes: Floats  # [K, 4], xyxy in pixels of the picture
    centred_boxes: Floats  # [K, 4], the same as cxcywh in [0, 1]: what the official code was given
    labels: NDArray[np.bool_]  # [K]: like this, or not like this
    raw: Raw
    found: Found


@dataclass(frozen=True)
class Recording:
    """All cases and the model that answered them. `config` has the fields of `sam3_edge.spec.ModelConfig`."""

    seed: int
    config: dict[str, Any]
    shapes: dict[str, list[int]]  # every floating-point tensor of the checkpoint, by official name
    constants: dict[str, list[int]]  # its complex64 buffers (rotary tables), computed and not learned
    versions: dict[str, str]
    cases: tuple[Case, ...]

    def weights(self, prefix: str = "") -> Weights:
        """The official checkpoint (or the part under `prefix`), rebuilt from the names and shapes."""
        return seeded_weights(self.seed, {n: s for n, s in self.shapes.items() if n.startswith(prefix)})


def load_recording(folder: Path = FOLDER) -> Recording:
    """Read the committed recording."""
    info = json.loads((folder / "image.json").read_text())
    with np.load(folder / "image.npz", allow_pickle=False) as file:
        arrays = dict(file)
    pictures = [
        Picture(**{f.name: arrays[f"picture{i}/{f.name}"] for f in fields(Picture)})
        for i in range(info["pictures"])
    ]
    cases = tuple(case_of(arrays, question, pictures[question["picture"]]) for question in info["cases"])
    return Recording(
        seed=info["seed"],
        config=info["config"],
        shapes=info["shapes"],
        constants=info["constants"],
        versions=info["versions"],
        cases=cases,
    )


def case_of(arrays: Arrays, question: Mapping[str, Any], picture: Picture) -> Case:
    name = question["name"]
    bits = arrays[f"{name}/found/masks"]
    height, width = picture.pixels.shape[:2]
    masks = np.unpackbits(bits, axis=1, count=height * width).reshape(-1, height, width).astype(bool)
    return Case(
        name=name,
        picture=picture,
        phrase=question["phrase"],
        raw=Raw(**{f.name: arrays[f"{name}/raw/{f.name}"] for f in fields(Raw)}),
        found=Found(masks=masks, boxes=arrays[f"{name}/found/boxes"], scores=arrays[f"{name}/found/scores"]),
        **{key: arrays[f"{name}/{key}"] for key in ("token_ids", "boxes", "centred_boxes", "labels")},
    )


def differences(recorded: Arrays, again: Arrays) -> dict[str, float]:
    """How far two recordings are apart, by array: as a part of what is allowed, so at most 1 is equal.

    An array that only one of them has, or of another shape, is infinitely far.
    """
    return {name: distance(name, recorded.get(name), again.get(name)) for name in {*recorded, *again}}


def distance(name: str, a: NDArray[Any] | None, b: NDArray[Any] | None) -> float:
    """Floats: the largest difference, relative to the largest value, at least 1. Packed bits: how many."""
    if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    if a.size == 0 or np.array_equal(a, b):
        return 0.0
    if a.dtype == np.uint8:
        return float(np.unpackbits(a ^ b).sum()) / (8 * a.size * FLIPPED)
    kind = name.rpartition("/")[2]
    if a.dtype.kind == "f":
        allowed = REMEMBERED.get(kind, TOLERANCE)
        return float(np.abs(a - b).max() / max(1.0, float(np.abs(a).max()))) / allowed
    if kind == "filled" and np.array_equal(a > 0, b > 0):
        return float((a != b).mean()) / MISCOUNTED
    return float("inf")


def compared(path: Path, again: Arrays) -> int:
    """0 if the committed recording at `path` says the same, else 1; prints how near it is."""
    with np.load(path, allow_pickle=False) as file:
        apart = differences(dict(file), again)
    name, largest = max(apart.items(), key=lambda item: item[1])
    print(f"largest difference from the recording: {largest:.2g} of what is allowed ({name})")
    return int(largest > 1)
