"""Corrections on frozen clips: where a track drifts, one simulated click.

An object is followed from its true mask. How well the frames after the click are followed is measured against
the same track left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam3_edge import Segmenter, Tracker
from sam3_edge.judge.frozen_clips import FrozenClip
from sam3_edge.shapes.clips import draw_masks

from .clicked_pictures import Mask, click_at, iou

DRIFTED, VISIBLE = 0.5, 100  # a track drifts where its J is below, while so many pixels are to be seen
AFTER = 16  # frames that are watched after a correction


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
    tracker, at = begun(model, frames, truth, first), drifted[0]
    for index, mask in followed(tracker, frames[: at + 1], first + 1):
        if index == at:
            click = click_at(truth[index], mask)
            assert click is not None, "a track that drifts is wrong somewhere"
            tracker.correct(tracker.tracks[0].id, points=[click])
    again = dict(followed(tracker, frames, at + 1))
    alone, helped = (np.mean([iou(truth[i], masks[i]) for i in watched]) for masks in (seen, again))
    return Corrected(
        clip.name, actor, at, round(reached[at], 4), round(float(alone), 4), round(float(helped), 4)
    )


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
