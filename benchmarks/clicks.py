"""What clicks are worth on the frozen sets: `python -m sam3_edge.benchmarks.clicks`.

Pictures, by the usual protocol: a first click into the middle of the object, every next one into the middle
of the largest error of the mask so far, on the object where it is missing, beside it where it is too much.
Clips: an object is followed from its true mask; where its track drifts, one such click, and how well the
frames after it are followed, against the same track left alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sam3_edge import Box, Segmenter, Tracker, console, load
from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle
from sam3_edge.judge import frozen_clips, frozen_pictures
from sam3_edge.judge.bootstrap import draws, interval
from sam3_edge.judge.case import Masks
from sam3_edge.loop.prompts import Point
from sam3_edge.loop.regions import bounds
from sam3_edge.selection import Selection
from sam3_edge.shapes.clips import draw_masks
from sam3_edge.verbs.options import COUNT
from sam3_edge.writing import write_file

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

CLICKS = 5
LEAST = 50  # pixels of an object of a picture: of less, nobody knows what was meant
DRIFTED, VISIBLE = 0.5, 100  # a track drifts where its J is below, while so many pixels are to be seen
AFTER = 16  # frames that are watched after a correction
BOX = "box"


def iou(a: Mask, b: Mask) -> float:
    """J: of two empty masks 1, as in DAVIS."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def middle(region: Mask) -> tuple[float, int, int]:
    """The pixel of a region that is farthest from its border, and how far that is: distance, x, y."""
    distance = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), region.shape)
    return float(distance[y, x]), int(x), int(y)


def next_click(truth: Mask, seen: Mask) -> Point:
    """Into the middle of what is missing or of what is too much, whichever is wider; in pixels' centres."""
    (missing, *on), (extra, *beside) = middle(truth & ~seen), middle(seen & ~truth)
    x, y = on if missing >= extra else beside
    return Point(x + 0.5, y + 0.5, missing >= extra)


def objects_of(frozen: frozen_pictures.FrozenPicture) -> Masks:
    """Every object that a question about a picture is about, once, unless it is tiny."""
    size = frozen.picture.shape[:2]
    runs = dict.fromkeys(run for case in frozen.cases for run in case.truths[0].runs)
    masks = Masks((size[0], size[1]), tuple(runs))
    kept = zip(masks.runs, masks.areas(), strict=True)
    return Masks(masks.size, tuple(run for run, area in kept if area >= LEAST))


def clicked(selection: Selection, truth: Mask) -> list[float]:
    """IoU after each of the clicks, of the candidate that the model thinks best."""
    seen, reached = np.zeros_like(truth), []
    for _ in range(CLICKS):
        at = next_click(truth, seen)
        selection.add(at.x, at.y, at.positive)
        seen = selection.masks[0]
        reached.append(iou(truth, seen))
    return reached


def boxed(selection: Selection, truth: Mask) -> float:
    """IoU after the object's true box alone."""
    top, bottom, left, right = bounds(truth)
    return iou(truth, selection.box(Box(left, top, right, bottom)).masks[0])


def on_pictures(
    model: Segmenter, pictures: Iterable[frozen_pictures.FrozenPicture], advance: Callable[[int], object]
) -> Floats:
    """[N, CLICKS + 1]: IoU of every object after each click, and after its box."""
    rows = []
    for frozen in pictures:
        embedding = model.embed(frozen.picture)
        for truth in objects_of(frozen).decode():
            reached = clicked(model.click(embedding), truth)
            rows.append([*reached, boxed(model.click(embedding), truth)])
        advance(1)
    return np.array(rows)


@dataclass(frozen=True)
class Corrected:
    """A track that drifted on `frame`: mean J of the frames after it, left alone and after one click."""

    clip: str
    actor: int
    frame: int
    before: float
    alone: float
    corrected: float


def followed(tracker: Tracker, frames: NDArray[np.uint8], first: int) -> Iterator[tuple[int, Mask]]:
    """Where the tracker's only object is on every frame from `first` on."""
    for index in range(first, len(frames)):
        result = tracker.step(frames[index])
        yield index, result.masks[0] if len(result) else np.zeros(frames.shape[1:3], np.bool_)


def begun(model: Segmenter, frames: NDArray[np.uint8], truth: Mask, first: int) -> Tracker:
    """A tracker that was given an object's true mask on frame `first`."""
    tracker = model.tracker()
    tracker.step(frames[first])
    tracker.add_object(mask=truth[first])
    return tracker


def corrected(
    model: Segmenter, clip: frozen_clips.FrozenClip, frames: NDArray[np.uint8], actor: int, truth: Mask
) -> Corrected | None:
    """Follow one actor [T, S, S] from where it is first seen well; None if its track never drifts."""
    areas = truth.sum((1, 2))
    if not (areas >= VISIBLE).any():
        return None
    first = int(np.argmax(areas >= VISIBLE))
    seen = dict(followed(begun(model, frames, truth, first), frames, first + 1))
    reached = {index: iou(truth[index], mask) for index, mask in seen.items()}
    drifted = [i for i, j in reached.items() if areas[i] >= VISIBLE and j < DRIFTED]
    after = range(drifted[0] + 1, min(drifted[0] + 1 + AFTER, len(frames))) if drifted else range(0)
    watched = [index for index in after if areas[index]]
    if not watched:
        return None
    tracker, at = begun(model, frames, truth, first), drifted[0]
    for index, mask in followed(tracker, frames[: at + 1], first + 1):
        if index == at:
            tracker.correct(tracker.tracks[0].id, points=[next_click(truth[index], mask)])
    again = dict(followed(tracker, frames, at + 1))
    alone, helped = (np.mean([iou(truth[i], masks[i]) for i in watched]) for masks in (seen, again))
    return Corrected(
        clip.name, actor, at, round(reached[at], 4), round(float(alone), 4), round(float(helped), 4)
    )


def on_clips(
    model: Segmenter, clips: Iterable[frozen_clips.FrozenClip], advance: Callable[[int], object]
) -> tuple[int, list[Corrected]]:
    """How many objects were followed, those that the clips' phrases are about, and which of them drifted."""
    count, found = 0, []
    for clip in clips:
        frames = clip.frames
        drawn = np.stack([draw_masks(clip.script, index) for index in range(clip.script.frames)])
        asked = sorted({actor for case in clip.cases for actor in case.truth.objects})
        for actor in asked:
            count += 1
            if (one := corrected(model, clip, frames, actor, drawn[:, actor])) is not None:
                found.append(one)
        advance(1)
    return count, found


def mean(values: Sequence[float] | Floats) -> dict[str, Any]:
    """The mean, and its 95 % bootstrap interval."""
    array = np.asarray(values, np.float64)
    samples = np.array([counts @ array / len(array) for counts in draws(len(array))])
    ends = interval(samples) or ()
    return {"value": round(float(array.mean()), 4), "interval": [round(end, 4) for end in ends]}


def summary(pictures: Floats, followed: int, drifted: Sequence[Corrected]) -> dict[str, Any]:
    """All numbers: IoU by clicks, J after a correction; `gain` is of the same tracks, in pairs."""
    after = {str(n + 1): mean(pictures[:, n]) for n in range(CLICKS)} if len(pictures) else {}
    if len(pictures):
        after[BOX] = mean(pictures[:, CLICKS])
    document: dict[str, Any] = {"objects": len(pictures), "iou_after": after, "followed": followed}
    document["drifted"] = len(drifted)
    if drifted:
        alone, helped = ([getattr(one, name) for one in drifted] for name in ("alone", "corrected"))
        gain = np.subtract(helped, alone)
        document |= {"alone": mean(alone), "corrected": mean(helped), "gain": mean(gain)}
    return document


def markdown(document: Mapping[str, Any]) -> str:
    """Two tables."""
    lines = [f"| {document['objects']} objects of frozen pictures | mean IoU |", "|---|---|"]
    for name, score in document["iou_after"].items():
        prompt = "a box" if name == BOX else "1 click" if name == "1" else f"{name} clicks"
        lines.append(f"| after {prompt} | {cell(score)} |")
    drifted = f"{document['drifted']} of {document['followed']} tracks that drift"
    lines += ["", f"| {drifted} | mean J of the {AFTER} frames after |", "|---|---|"]
    if document["drifted"]:
        lines.append(f"| left alone | {cell(document['alone'])} |")
        lines.append(f"| one click on the frame where it drifts | {cell(document['corrected'])} |")
        lines.append(f"| gain, track by track | {cell(document['gain'])} |")
    return "\n".join(lines) + "\n"


def cell(score: Mapping[str, Any]) -> str:
    low, high = score["interval"]
    return f"{score['value']:.3f} ({low:.2f} to {high:.2f})"


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: the built-in model.")
@click.option("--pictures", type=click.IntRange(0), default=128, show_default=True)
@click.option("--clips", type=click.IntRange(0), default=16, show_default=True)
@click.option("--threads", type=COUNT, help="Processor threads.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write JSON, and the tables beside it as .md."
)
def main(bundle: Path | None, pictures: int, clips: int, threads: int | None, output: Path | None) -> None:
    """Simulate clicks on the first frozen pictures, and corrections on the first frozen clips."""
    place = builtin_bundle() if bundle is None else bundle
    with load(place, threads=threads) as model:
        model.check_clicks()
        with console.progress("pictures", pictures) as advance:
            rows = on_pictures(model, frozen_pictures.frozen_pictures(pictures), advance)
        with console.progress("clips", clips) as advance:
            followed, drifted = on_clips(model, islice(frozen_clips.clips(), clips), advance)
    document = {
        "bundle": Bundle.open(place).hash,
        "pictures": {"hash": frozen_pictures.HASH, "count": pictures},
        "clips": {"hash": frozen_clips.HASH, "count": clips},
        **summary(rows, followed, drifted),
        "tracks": [vars(one) for one in drifted],
    }
    click.echo(text := markdown(document))
    if output is not None:
        write_file(output, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)
        write_file(output.with_suffix(".md"), text.encode(), overwrite=True)


if __name__ == "__main__":
    main()
