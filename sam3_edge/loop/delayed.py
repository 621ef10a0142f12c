"""The offline policy: results wait for the hot-start window, and then nothing is ever taken back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from sam3_edge.loop.events import FrameResult
from sam3_edge.loop.render import Draft, render
from sam3_edge.loop.tracker import Tracker


class Delayed:
    """A tracker whose results come `frames` later. What is retracted until then was never there.

    Frame t is told once frame t + `frames` - 1 was seen: with hot-start's own window, the default, too late
    for any retraction to come. Waiting takes memory for `frames` frames of mask logits.
    """

    def __init__(self, tracker: Tracker, *, frames: int | None = None) -> None:
        self.tracker = tracker
        self.frames = tracker.settings.hot_start if frames is None else frames
        self.waiting: deque[Draft] = deque()
        self.never: dict[int, int] = {}  # retracted ids, and the frame on which they were

    def step(self, frame: NDArray[np.uint8]) -> FrameResult | None:
        """The next frame goes in; the oldest that is ripe comes out, None if none is yet."""
        return self.hold(self.tracker.advance(frame))

    def hold(self, draft: Draft) -> FrameResult | None:
        """`step` for a frame that the tracker was given already, and that was perhaps drawn on since."""
        self.waiting.append(draft)
        retracted = (event.id for event in draft.events if event.kind == "retraction")
        self.never |= dict.fromkeys(retracted, draft.index)
        return self.tell() if len(self.waiting) >= self.frames else None

    def finish(self) -> list[FrameResult]:
        """The results of all frames that still wait: the video is over."""
        return [self.tell() for _ in range(len(self.waiting))]

    def follow(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[FrameResult]:
        """The results of a whole video, in order."""
        for frame in frames:
            if (result := self.step(frame)) is not None:
                yield result
        yield from self.finish()

    def tell(self) -> FrameResult:
        """Draw the oldest frame."""
        draft = self.waiting.popleft()
        result = render(draft, never=self.never)
        self.never = {id: frame for id, frame in self.never.items() if frame > draft.index}
        return result
