"""A golden clip: a few small frames, and whom the PyTorch model saw on them, to follow again on any device.

Every graph of the tracker has its part: an object is drawn by hand on the first frame, a phrase is asked from
the second on, and on `CLICKED` the drawn object is clicked on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam3_edge.agreement import PIXELS, Agreement, overlaps
from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError
from sam3_edge.golden import pack, unpack
from sam3_edge.loop.events import FrameResult
from sam3_edge.loop.prompts import Point
from sam3_edge.loop.settings import Settings
from sam3_edge.segmenter import Segmenter

ANSWERS = "golden/clip.json"
CLICKED = 2  # the frame, counted from 0
# Random weights see objects everywhere: more of them prove nothing more.
SETTINGS = Settings(max_objects=8)


@dataclass(frozen=True, eq=False)
class Clip:
    """What is asked: frames uint8 [H, W, 3], a phrase, an object's mask bool [H, W], and a click on it."""

    frames: tuple[NDArray[np.uint8], ...]
    phrase: str
    drawn: NDArray[np.bool_]
    click: Point


@dataclass(frozen=True, eq=False)
class Seen:
    """The objects of one frame: ids, masks bool [N, H, W], and how sure the tracker is of each, 0 to 1."""

    ids: tuple[int, ...]
    masks: NDArray[np.bool_]
    presence: tuple[float, ...]

    @classmethod
    def of(cls, result: FrameResult) -> Seen:
        return cls(tuple(result.ids.tolist()), result.masks, tuple(result.presence.tolist()))


@dataclass(frozen=True, eq=False)
class GoldenClip:
    """A clip, and what is seen on each of its frames."""

    clip: Clip
    seen: tuple[Seen, ...]


def follow(model: Segmenter, clip: Clip) -> tuple[Seen, ...]:
    """What a model sees on every frame of a clip."""
    tracker = model.tracker(settings=SETTINGS)
    seen = []
    for index, frame in enumerate(clip.frames):
        result = tracker.step(frame)
        if index == 0:
            result = tracker.add_object(mask=clip.drawn)
            drawn = int(result.ids[-1])
            tracker.add(clip.phrase)
        elif index == CLICKED:
            result = tracker.correct(drawn, points=(clip.click,))
        seen.append(Seen.of(result))
    return tuple(seen)


def replay_clip(model: Segmenter, golden: GoldenClip) -> Agreement:
    """Follow the clip again, and compare."""
    return compare_seen(golden.seen, follow(model, golden.clip))


def compare_seen(expected: Sequence[Seen], got: Sequence[Seen]) -> Agreement:
    """Frame by frame and identity by identity: the same mask under another id is missing, and extra.

    `objects` counts an object once for each frame that shows it. Masks that differ by at most `PIXELS` are
    the same: there are few, and one object that is nearly hidden would decide their mean.
    """
    ious: list[float] = []
    pixels = missing = extra = 0
    score = 0.0
    for want, have in zip(expected, got, strict=True):
        both = sorted({*want.ids} & {*have.ids})
        missing, extra = missing + len(want.ids) - len(both), extra + len(have.ids) - len(both)
        for i, j in ((want.ids.index(id), have.ids.index(id)) for id in both):
            iou = float(overlaps(want.masks[i : i + 1], have.masks[j : j + 1])[0, 0])
            differ = int((want.masks[i] ^ have.masks[j]).sum())
            ious.append(iou if differ > PIXELS else 1.0)
            pixels = max(pixels, differ)
            score = max(score, abs(want.presence[i] - have.presence[j]))
    mean, least = (float(np.mean(ious)), min(ious)) if ious else (None, None)
    return Agreement(sum(len(s.ids) for s in expected), missing, extra, mean, least, pixels, score)


def write_clip(folder: Path, golden: GoldenClip) -> None:
    """Write a clip into the bundle at `folder`, before it is sealed. The same clip gives the same bytes."""
    clip, frames = golden.clip, []
    for number, (frame, seen) in enumerate(zip(clip.frames, golden.seen, strict=True)):
        name = f"golden/clip-{number}.png"
        Image.fromarray(frame).save(folder / name, optimize=True)
        row = {"picture": name, "ids": seen.ids, "masks": pack(seen.masks), "presence": seen.presence}
        frames.append(row)
    asked = {"phrase": clip.phrase, "drawn": pack(clip.drawn[None]), "click": vars(clip.click)}
    document = {"size": clip.drawn.shape, **asked, "frames": frames}
    (folder / ANSWERS).write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")


def read_clip(bundle: Bundle) -> GoldenClip | None:
    """The bundle's clip; None without a tracker, and for one that was exported before there were clips.

    Raises `CheckError` for a damaged file.
    """
    if all(file.path != ANSWERS for file in bundle.files):
        return None
    try:
        document = json.loads(bundle.file(ANSWERS).read_bytes())
        size, rows = document["size"], document["frames"]
        pictures = [Image.open(bundle.file(row["picture"])).convert("RGB") for row in rows]
        clip = Clip(
            frames=tuple(np.asarray(picture) for picture in pictures),
            phrase=document["phrase"],
            drawn=unpack(document["drawn"], size)[0],
            click=Point(**document["click"]),
        )
        seen = [Seen(tuple(row["ids"]), unpack(row["masks"], size), tuple(row["presence"])) for row in rows]
        return GoldenClip(clip, tuple(seen))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise CheckError(
            f"bundle {bundle.path}: {ANSWERS} is not readable ({error}); export again"
        ) from error
