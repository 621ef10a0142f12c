"""Reads `recordings/video.*`: what the official video session decided and answered, frame by frame."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .recording import FOLDER, Arrays, load_recording
from .seeded import Weights

Floats = NDArray[np.float32]
Ints = NDArray[np.int16]
Flags = NDArray[np.bool_]

PROJECTIONS = 4
THIN = 8
LIMIT = 32.0
# Weights that the recorded sessions have beside those of the image recording, because nobody trained them.
# Random ones call nearly every object absent. Biases along one direction in both factors of a product, and
# against each other, make the masks of real clips smaller: else one object covers every picture.
OBJECT_SCORE, OBJECT_SCORE_SHIFT = "tracker.sam_mask_decoder.pred_obj_score_head.layers.2.bias", 3.0
SMALLER = {
    "detector.segmentation_head.instance_seg_head.bias": -0.1,
    "detector.segmentation_head.mask_predictor.mask_embed.layers.2.bias": 0.1,
    **{f"tracker.sam_mask_decoder.output_hypernetworks_mlps.{i}.layers.2.bias": -0.3 for i in range(4)},
}


def video_weights(kind: str) -> Weights:
    """The official checkpoint of the recorded sessions, by official name. kind: "scripted" or "real"."""
    weights = load_recording().weights()
    shifts = {OBJECT_SCORE: OBJECT_SCORE_SHIFT} | (SMALLER if kind == "real" else {})
    return weights | {name: weights[name] + np.float32(shift) for name, shift in shifts.items()}


def glimpsed(maps: NDArray[Any], frame: int) -> Floats:
    """What is kept of mask logits [N, H, W]: every 8th row and column, others on each frame, within +-32."""
    thin = maps[:, frame % THIN :: THIN, 3 * frame % THIN :: THIN]
    return np.asarray(np.clip(thin, -LIMIT, LIMIT), np.float32)


def projected(values: NDArray[Any]) -> Floats:
    """What is kept of [N, ...]: four sums with fixed random signs, over the root of their length: [N, 4]."""
    flat = values.reshape(len(values), -1) if values.size else np.zeros((len(values), 1))
    signs = np.random.RandomState(flat.shape[1]).randint(0, 2, (flat.shape[1], PROJECTIONS)) * 2.0 - 1.0
    return np.asarray(flat.astype(np.float64) @ signs / flat.shape[1] ** 0.5, np.float32)


@dataclass(frozen=True)
class Detections:
    """The K queries with a score above 0.5 on one frame, in query order."""

    query: NDArray[np.int8]  # [K]
    score: Floats  # [K], presence included
    kept: Flags  # [K]: left by mask NMS; "detection" below counts these only
    masks: Floats  # [K, 4]: `projected` logits


@dataclass(frozen=True)
class Tracks:
    """The N objects tracked on one frame, in the session's order: by birth."""

    id: Ints  # [N]
    score: Floats  # [N], the object score, a logit
    positive: NDArray[np.uint8]  # [N, s, s / 8]: packed signs of the mask, after filling, before suppression
    logits: Floats  # [N, 8, 8]: `glimpsed` logits of that mask
    filled: Ints  # [N]: pixels of holes filled
    cleared: Ints  # [N]: pixels of sprinkles removed
    matches: NDArray[np.uint16]  # [N]: bit d where it matches detection d (IoU >= 0.1)
    unmatched: Flags  # [N]: has pixels, and no detection with IoU >= 0.5
    empty: Flags  # [N]: has no pixel
    strong: NDArray[np.int8]  # [N]: the sure detection that reconditions it on a frame for that, or -1
    reconditioned: Flags  # [N]
    suppressed: Flags  # [N]: lay over another object and was occluded more recently
    shrunk: Flags  # [N]: lost 70 % of its pixels to others, so remembered as absent
    removed: NDArray[np.int8]  # [N]: on this frame: 0 no, 1 as unmatched, 2 as a duplicate
    keep_alive: NDArray[np.int8]  # [N]
    last_occluded: Ints  # [N]: a frame, or -1; also -1 where removed
    quality: Floats  # [N]: eff_iou_score, by which memories are selected; -1 where reconditioned
    conditioning: Ints  # [N, 4]: conditioning frames attended to, ascending, then -1
    recent: Ints  # [N, 6]: other frames attended to, by rank, latest first; -1: nothing at this rank
    pointers: Ints  # [N, 15]: frames whose pointers are attended to besides, in the same way
    pointer: Floats  # [N, 4]: `projected` pointer of this frame
    memory: Floats  # [N, 4]: `projected` memory of this frame, rounded to bfloat16


@dataclass(frozen=True)
class Births:
    """The M objects born on one frame."""

    id: Ints  # [M]
    detection: NDArray[np.int8]  # [M]
    query: NDArray[np.int8]  # [M]
    filled: Ints  # [M]: pixels of holes filled in the mask shown (not in the mask remembered)
    cleared: Ints  # [M]
    pointer: Floats  # [M, 4]: `projected`
    memory: Floats  # [M, 4]: `projected`, rounded to bfloat16


@dataclass(frozen=True)
class Shown:
    """What a user gets for one frame, 15 frames later: without objects that were removed by then."""

    id: Ints  # [S]
    score: Floats  # [S]: of the detection it was born from
    boxes: Floats  # [S, 4]: x, y, width, height over the picture's
    masks: Flags  # [S, H, W], exclusive


@dataclass(frozen=True)
class Frame:
    """One frame of one clip."""

    detections: Detections
    tracks: Tracks
    births: Births
    shown: Shown


@dataclass(frozen=True)
class VideoClip:
    """One clip of `official_video_script.clips()`, by name."""

    name: str
    size: tuple[int, int]  # height, width
    actors: tuple[int, ...]  # by object id: whose row of the script it got; -1 in real clips
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class VideoRecording:
    """All clips. `config` has the fields of `sam3_edge.spec.ModelConfig`.

    `settings` are the official session's, `counts` how often each kind of event happens, by kind of clip.
    """

    config: dict[str, Any]
    settings: dict[str, Any]
    digest: str  # of all pictures and scripts
    counts: dict[str, dict[str, int]]
    clips: tuple[VideoClip, ...]


PARTS = {"detections": Detections, "tracks": Tracks, "births": Births, "shown": Shown}


def load_video(name: str = "video") -> VideoRecording:
    """Read a committed recording: "video", or "trained" with the built-in model's weights."""
    info = json.loads((FOLDER / f"{name}.json").read_text())
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    frames = frames_of(arrays, [clip["size"] for clip in info["clips"] for _ in range(clip["frames"])])
    clips = tuple(
        VideoClip(
            name=clip["name"],
            size=tuple(clip["size"]),
            actors=tuple(clip["actors"]),
            frames=tuple(next(frames) for _ in range(clip["frames"])),
        )
        for clip in info["clips"]
    )
    return VideoRecording(clips=clips, **{k: info[k] for k in ("config", "settings", "digest", "counts")})


def frames_of(arrays: Arrays, sizes: list[list[int]]) -> Iterator[Frame]:
    """Frames of all clips, cut from arrays that hold the rows of all frames, one after the other."""
    at = dict.fromkeys(PARTS, 0)
    pixels = 0
    for index, (height, width) in enumerate(sizes):
        parts: dict[str, Any] = {}
        for part, kind in PARTS.items():
            rows = slice(at[part], at[part] + int(arrays[f"{part}/rows"][index]))
            at[part] = rows.stop
            parts[part] = {
                f.name: arrays[f"{part}/{f.name}"][rows]
                for f in fields(kind)
                if f.name != "masks" or part != "shown"
            }
        count = len(parts["shown"]["id"])
        shape = (count, height, -(-width // 8))
        bits = arrays["shown/masks"][pixels : pixels + math.prod(shape)].reshape(shape)
        pixels += math.prod(shape)
        parts["shown"]["masks"] = np.unpackbits(bits, axis=-1, count=width).astype(bool)
        yield Frame(**{part: kind(**parts[part]) for part, kind in PARTS.items()})
