"""Corrections on frozen clips: where a track drifts, simulated clicks.

An object is followed from its true mask. How well the frames after the clicks are followed is measured
against the same track left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam3_edge import FrameResult, Segmenter, Tracker
from sam3_edge.judge.frozen_clips import FrozenClip
from sam3_edge.loop.prompts import Point
from sam3_edge.shapes.clips import draw_masks

from .clicked_pictures import Mask, click_at, iou

DRIFTED, VISIBLE = 0.5, 100  # a track drifts where its J is below, while so many pixels are to be seen
AFTER = 16  # frames that are watched after a correction
COUNTS = (1, 3)  # clicks of one; with three on a frame SAM 2 is judged (Ravi et al. 2024, section 6.1)


@dataclass(frozen=True)
class Corrected:
    """A track that drifted on `frame`: mean J of the frames after it, left alone, and by how many clicks."""

    clip: str
    actor: int
    frame: int
    before: float
    alone: float
    corrected: dict[int, float]


def followed(tracker: Tracker, frames: NDArray[np.uint8], first: int) -> Iterator[tuple[int, Mask]]:
    """Where the tracker's only object is on every frame from `first` on."""
    for index in range(first, len(frames)):
        yield index, only(tracker.step(frames[index]))


def only(result: FrameResult) -> Mask:
    """The mask of the only object there is, of no pixel where it is not seen."""
    return result.masks[0] if len(result) else np.zeros(result.masks.shape[1:], np.bool_)


def begun(model: Segmenter, frames: NDArray[np.uint8], truth: Mask, first: int) -> Tracker:
    """A tracker that was given an object's true mask on frame `first`."""
    tracker = model.tracker()
    tracker.step(frames[first])
    tracker.add_object(mask=truth[first])
    return tracker


def click_on(tracker: Tracker, truth: Mask, mask: Mask, count: int) -> None:
    """Correct the only object's `mask` by so many clicks, each where it is most wrong after those before."""
    points: list[Point] = []
    while len(points) < count and (click := click_at(truth, mask)) is not None:
        points.append(click)
        mask = only(tracker.correct(tracker.tracks[0].id, points=points))


def corrected(
    model: Segmenter, clip: FrozenClip, frames: NDArray[np.uint8], actor: int, truth: Mask
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
    at, helped = drifted[0], {}
    for count in COUNTS:
        tracker = begun(model, frames, truth, first)
        *_, (_, mask) = followed(tracker, frames[: at + 1], first + 1)
        click_on(tracker, truth[at], mask, count)
        again = dict(followed(tracker, frames, at + 1))
        helped[count] = mean_iou(truth, again, watched)
    alone = mean_iou(truth, seen, watched)
    return Corrected(clip.name, actor, at, round(reached[at], 4), alone, helped)


def mean_iou(truth: Mask, masks: Mapping[int, Mask], watched: Sequence[int]) -> float:
    """Over the frames that are watched."""
    return round(float(np.mean([iou(truth[index], masks[index]) for index in watched])), 4)


def on_clips(
    model: Segmenter, clips: Iterable[FrozenClip], advance: Callable[[int], object]
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
