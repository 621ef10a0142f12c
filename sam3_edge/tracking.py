"""Whole clips in three lines: frames in, what each shows out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam3_edge.concept import Asked
from sam3_edge.loop.delayed import Delayed
from sam3_edge.loop.events import FrameResult
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.tracker import Tracker
from sam3_edge.segmenter import Segmenter, load
from sam3_edge.video.reading import open_video

Frames: TypeAlias = "str | Path | Iterable[NDArray[np.uint8]]"


def track(
    source: Frames,
    concepts: Asked,
    *,
    bundle: str | Path | None = None,
    live: bool = False,
    settings: Settings | None = None,
    threads: int | None = None,
) -> Iterator[FrameResult]:
    """Every frame of a clip with all objects of the concepts, as they are found.

    `source`: a video file, a folder of pictures, or frames uint8 RGB [H, W, 3]. `live`: each frame at once,
    objects may be taken back later; otherwise results come a hot-start window late, and nothing is taken
    back. `bundle`: None for the built-in model. Boxes of a concept are drawn on the first frame.

    Raises what `load`, `open_video` and `Tracker` raise: for what is wrong with the request at once, for what
    is wrong with a frame when its turn comes.
    """
    model = load(bundle, threads=threads)
    try:
        tracker, frames = begin(model, concepts, settings=settings), frames_of(source)
    except BaseException:
        model.close()
        raise
    return closing(model, follow(tracker, frames, live=live))


def begin(model: Segmenter, concepts: Asked, *, settings: Settings | None = None) -> Tracker:
    """A tracker that looks for the concepts."""
    tracker = model.tracker(settings=settings)
    tracker.add(concepts)
    return tracker


def frames_of(source: Frames) -> Iterator[NDArray[np.uint8]]:
    """The pixels of a source's frames."""
    if isinstance(source, (str, Path)):
        return (frame.pixels for frame in open_video(source).frames())
    return iter(source)


def follow(tracker: Tracker, frames: Iterable[NDArray[np.uint8]], *, live: bool) -> Iterator[FrameResult]:
    """The tracker's result for every frame, at once or late."""
    return map(tracker.step, frames) if live else Delayed(tracker).follow(frames)


def closing(model: Segmenter, results: Iterator[FrameResult]) -> Iterator[FrameResult]:
    """The results, and the model is closed when they are over or nobody wants more."""
    with model:
        yield from results
