"""The one newest frame of a camera, which whoever is ready takes."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """A frame, uint8 RGB [H, W, 3]. `index` counts the frames of a source that arrived, from 0.

    captured: monotonic seconds; wall: seconds since 1970; dropped: frames that arrived since the one that was
    taken before, and were not taken; time: seconds of the video, None for a camera; run: which of the
    source's connections it came by, from 0.
    """

    index: int
    pixels: NDArray[np.uint8]
    captured: float
    wall: float
    dropped: int = 0
    time: float | None = None
    run: int = 0


class Slot:
    """Holds a frame at most. A live one gives way to the next; one of a file is waited for.

    `ready` may be shared by several slots: it is notified when a frame is there or something ends.
    """

    def __init__(self, *, keeps: bool, ready: threading.Condition | None = None) -> None:
        """`keeps`: nothing is dropped, `put` waits instead."""
        self.keeps, self.ready = keeps, ready or threading.Condition()
        self.frame: CameraFrame | None = None
        self.dropped = self.since = 0
        self.ended = False

    def put(self, frame: CameraFrame) -> bool:
        """The newest frame. False if nobody will take it any more."""
        with self.ready:
            while self.keeps and self.frame is not None and not self.ended:
                self.ready.wait(0.5)
            if self.ended:
                return False
            if self.frame is not None:
                self.dropped += 1
                self.since += 1
            self.frame = frame
            self.ready.notify_all()
            return True

    def take(self) -> CameraFrame | None:
        """The frame if there is one; it is gone from here then. Under `ready`, or by the only taker."""
        with self.ready:
            frame, self.frame = self.frame, None
            if frame is None:
                return None
            since, self.since = self.since, 0
            self.ready.notify_all()
        return CameraFrame(
            frame.index, frame.pixels, frame.captured, frame.wall, since, frame.time, frame.run
        )

    def end(self) -> None:
        """Nothing comes any more; a frame that is there can still be taken."""
        with self.ready:
            self.ended = True
            self.ready.notify_all()
