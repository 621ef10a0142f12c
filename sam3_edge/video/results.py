"""`results.jsonl`: a header, then one line a frame. Nothing in it depends on the machine or the hour."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.coco import run_lengths
from sam3_edge.errors import CheckError, SourceError
from sam3_edge.loop.events import Event, FrameResult
from sam3_edge.video.frames import VideoFrame

SCHEMA = 1
BROKEN = (ValueError, KeyError, TypeError, IndexError, RecursionError)


def as_line(document: dict[str, Any]) -> bytes:
    """One line of the file."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return (text + "\n").encode(errors="backslashreplace")


def frame_line(frame: VideoFrame, result: FrameResult) -> dict[str, Any]:
    """A frame's objects by rising id, and what happened on it. Boxes are xyxy pixels, masks run lengths."""
    objects = [
        {
            "id": int(result.ids[i]),
            "concept": result.concepts[i],
            "score": round(float(result.scores[i]), 6),
            "presence": round(float(result.presence[i]), 6),
            "box": [int(edge) for edge in result.boxes[i]],
            "mask": run_lengths(result.masks[i]),
        }
        for i in range(len(result))
    ]
    events = [
        {"kind": event.kind, "id": event.id, "about": list(event.about), "concept": event.concept}
        for event in result.events
    ]
    return {"frame": frame.index, "time": round(frame.time, 6), "objects": objects, "events": events}


def result_of(line: dict[str, Any], size: tuple[int, int]) -> FrameResult:
    """The inverse of `frame_line`, but for the rounding. `index` is the frame's number in the video."""
    objects = line["objects"]
    masks = [decode_mask(it["mask"]) for it in objects]
    return FrameResult(
        line["frame"],
        np.array([it["id"] for it in objects], np.int64),
        tuple(it["concept"] for it in objects),
        np.stack(masks) if masks else np.zeros((0, *size), np.bool_),
        np.array([it["box"] for it in objects], np.float32).reshape(-1, 4),
        np.array([it["score"] for it in objects], np.float32),
        np.array([it["presence"] for it in objects], np.float32),
        tuple(Event(e["kind"], e["id"], tuple(e["about"]), e["concept"]) for e in line["events"]),
    )


def decode_mask(mask: dict[str, Any]) -> NDArray[np.bool_]:
    """Run lengths as pixels [H, W]."""
    from pycocotools import mask as rle

    counts = mask["counts"].encode("ascii")
    pixels: NDArray[np.bool_] = rle.decode({"size": mask["size"], "counts": counts}).astype(np.bool_)
    return pixels


def read_header(path: Path) -> dict[str, Any]:
    """The first line. Raises `SourceError` for what cannot be read, `CheckError` for what is none of ours."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline())
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}): run the video again") from error
    except BROKEN as error:
        raise CheckError(f"{path}: its first line is no header: run the video again") from error
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        raise CheckError(f"{path}: not of schema {SCHEMA}: run the video again")
    return header


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The frames of a results file, as far as its lines are whole: a run that was killed may have cut one.

    Raises `CheckError` for a whole line that is no frame.
    """
    with path.open("rb") as file:
        file.readline()
        for number, data in enumerate(file, 2):
            if not data.endswith(b"\n"):
                return
            try:
                line = json.loads(data)
                line["frame"], line["objects"], line["events"]
            except BROKEN as error:
                raise CheckError(f"{path}: line {number} is no frame: run the video again") from error
            yield line


def read_results(path: str | Path) -> Iterator[FrameResult]:
    """Every frame of a `results.jsonl`, as it was told. Raises as `read_header` and `read_lines` do."""
    header = read_header(Path(path))
    size = (header["source"]["height"], header["source"]["width"])
    return (result_of(line, size) for line in read_lines(Path(path)))
