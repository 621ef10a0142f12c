"""Results as Label Studio tasks with predictions: brush masks of pictures, moving boxes of clips.

Written to the documented JSON of `predictions`. A brush's run lengths are those of `rle-pack`, over the RGBA
pixels row by row: after a head, runs of one bit 1, two bits that choose a width, the length less one in so
many bits, and the value in eight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge import __version__
from sam3_edge.loop.events import FrameResult
from sam3_edge.result import Result

MODEL = f"sam3-edge {__version__}"
WORD = 8  # bits of a value
WIDTHS = (3, 4, 8, 16)  # bits of a run's length
CHANNELS = 4  # RGBA, of which Label Studio reads the last


def picture_config(classes: Sequence[str]) -> str:
    """A labelling interface that shows `picture_task`s."""
    return f"""<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="mask" toName="image">{labels(classes)}</BrushLabels>
</View>"""


def clip_config(classes: Sequence[str]) -> str:
    """A labelling interface that shows `clip_task`s."""
    return f"""<View>
  <Labels name="label" toName="video">{labels(classes)}</Labels>
  <Video name="video" value="$video"/>
  <VideoRectangle name="box" toName="video"/>
</View>"""


def labels(classes: Sequence[str]) -> str:
    """A label for each class."""
    return "".join(f'<Label value="{escape(name)}"/>' for name in dict.fromkeys(classes))


def picture_task(image: str, found: Sequence[Result]) -> dict[str, Any]:
    """One picture, `image` its address, with the objects of one or several results."""
    regions = [region for part in found for region in brushes(part)]
    for number, region in enumerate(regions):
        region.setdefault("id", f"object-{number}")
    scores = np.concatenate([part.scores for part in found]) if found else np.zeros(0)
    return {"data": {"image": image}, "predictions": [prediction(regions, scores)]}


def prediction(regions: list[dict[str, Any]], scores: NDArray[Any]) -> dict[str, Any]:
    """Regions, and the mean of their scores, by which Label Studio orders tasks; 0 for nothing found."""
    mean = round(float(scores.mean()), 6) if len(scores) else 0.0
    return {"model_version": MODEL, "score": mean, "result": regions}


def brushes(found: Result) -> list[dict[str, Any]]:
    """A region for each object of one result; identities become their ids."""
    height, width = found.masks.shape[1:]
    ids = found.object_ids
    regions = []
    for place, (name, mask) in enumerate(zip(found.names, found.masks, strict=True)):
        value: dict[str, Any] = {"format": "rle", "rle": run_lengths(mask), "brushlabels": [name]}
        region: dict[str, Any] = {"type": "brushlabels", "from_name": "mask", "to_name": "image"}
        region |= {"value": value}
        region |= {"original_width": width, "original_height": height, "image_rotation": 0}
        region |= {"score": round(float(found.scores[place]), 6)}
        regions.append(region if ids is None else {"id": f"object-{ids[place]}"} | region)
    return regions


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """The bytes of a mask [H, W] of at least one pixel: 255 in all channels where it is set, else 0."""
    flat = mask.ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    lengths = np.diff(np.append(starts, flat.size)) * CHANNELS
    head = f"{flat.size * CHANNELS:032b}{WORD - 1:05b}" + "".join(f"{bits - 1:04b}" for bits in WIDTHS)
    body = (run(int(n), value=bool(flat[at])) for at, n in zip(starts, lengths, strict=True))
    bits = head + "".join(body)
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))


def run(length: int, *, value: bool) -> str:
    """The bits of so many equal values: several runs where one is too long."""
    bits, most = "", 2 ** WIDTHS[-1]
    for part in [most] * (length // most) + ([length % most] if length % most else []):
        width = next(i for i, size in enumerate(WIDTHS) if part <= 2**size)
        bits += f"1{width:02b}{part - 1:0{WIDTHS[width]}b}{255 * value:0{WORD}b}"
    return bits


def clip_task(video: str, frames: Iterable[FrameResult], *, rate: float) -> dict[str, Any]:
    """A clip, `video` its address, at `rate` frames a second: every object as a box that moves.

    Frames count from 1 there. A box ends where its object is not seen, and begins again where it is.
    """
    seen: dict[int, list[tuple[int, dict[str, Any]]]] = {}
    names: dict[int, str] = {}
    scores: dict[int, float] = {}
    count = 0
    for frame in frames:
        count = max(count, frame.index + 1)
        height, width = frame.masks.shape[1:]
        percent = frame.boxes / np.array([width, height] * 2, np.float32) * 100
        for id, name, score, box in zip(frame.ids.tolist(), frame.names, frame.scores, percent, strict=True):
            names.setdefault(id, name)
            scores.setdefault(id, float(score))
            seen.setdefault(id, []).append((frame.index, place(frame.index, box, rate=rate)))
    regions = []
    for id, places in seen.items():
        after = {index for index, _ in places}
        sequence = [{**shown, "enabled": index + 1 in after} for index, shown in places]
        value: dict[str, Any] = {
            "framesCount": count,
            "duration": round(count / rate, 6),
            "sequence": sequence,
        }
        region: dict[str, Any] = {
            "id": f"object-{id}",
            "type": "videorectangle",
            "from_name": "box",
            "to_name": "video",
        }
        region |= {"value": value | {"labels": [names[id]]}, "score": round(scores[id], 6)}
        regions.append(region)
    return {"data": {"video": video}, "predictions": [prediction(regions, np.array([*scores.values()]))]}


def place(index: int, box: NDArray[np.float32], *, rate: float) -> dict[str, Any]:
    """Where a box xyxy, in percent of the frame, is on a frame."""
    x0, y0, x1, y1 = (round(float(edge), 4) for edge in box)
    where = {"x": x0, "y": y0, "width": round(x1 - x0, 4), "height": round(y1 - y0, 4)}
    return {"frame": index + 1, "time": round(index / rate, 6), "rotation": 0, **where}
