"""Frames of a video, and which of them are wanted."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam3_edge.errors import SourceError, UsageError

FPS = 24.0  # of what has no rate of its own: folders, raw frames, files that do not tell


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """Frame `index` of its video, counted from 0; `time` in seconds; pixels uint8 RGB [H, W, 3]."""

    index: int
    time: float
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Span:
    """Every `stride`-th frame from `start` on; `stop` and what comes after it is left out.

    Raises `UsageError` for a span without a frame.
    """

    start: int = 0
    stop: int | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        if self.start < 0 or self.stride < 1:
            raise UsageError(f"frames from {self.start}, every {self.stride}: want start >= 0, stride >= 1")
        if self.stop is not None and self.stop <= self.start:
            raise UsageError(f"frames {self.start} to {self.stop}: the end must be above the start")

    def wants(self, index: int) -> bool:
        """Whether a frame is one of them."""
        inside = index >= self.start and (self.stop is None or index < self.stop)
        return inside and (index - self.start) % self.stride == 0

    def over(self, index: int) -> bool:
        """Whether this frame and all behind it are left out."""
        return self.stop is not None and index >= self.stop

    def count(self, frames: int) -> int:
        """How many are wanted of a video of so many frames."""
        stop = frames if self.stop is None else min(frames, self.stop)
        return max(0, -(-(stop - self.start) // self.stride))


Read = Callable[[Span], Iterator[VideoFrame | int]]


@dataclass(frozen=True, eq=False)
class Video:
    """Something that gives frames. Made by `open_video`.

    count: how many frames its container promises, which may be wrong; None if it does not. again: whether it
    can be read more than once. A `read` gives the wanted frames, and at the end how many frames there were,
    unless it was stopped before.
    """

    name: str
    fps: float
    count: int | None
    again: bool
    read: Read
    note: Callable[[str], object]

    def frames(self, span: Span | None = None) -> Generator[VideoFrame, None, None]:
        """The wanted frames, in order.

        Raises `SourceError` when nothing can be decoded, `UsageError` when the video ends before the start.
        A video that ends before its container says is noted, not refused: many containers only estimate.
        """
        span = span or Span()
        given = 0
        for item in self.read(span):
            if isinstance(item, VideoFrame):
                given += 1
                yield item
                continue
            if not item:
                raise SourceError(f"{self.name}: no frame in it can be decoded: it is empty, cut or damaged")
            if not given:
                raise UsageError(f"frame {span.start} is past the end: {self.name} has {item} frames")
            if self.count is not None and item < self.count:
                self.note(
                    f"{self.name} says it has {self.count} frames, {item} could be decoded: "
                    "it may be cut short or damaged"
                )

    def length(self) -> int:
        """How many frames there are, by decoding them all."""
        for item in self.read(Span(start=2**62)):
            if isinstance(item, int):
                return item
        return 0
