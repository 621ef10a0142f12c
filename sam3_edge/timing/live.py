"""A camera that does not wait: a slot of one frame, the newest wins, and how old a frame is when done."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sam3_edge.loop.tracker import Tracker
from sam3_edge.timing.footage import Frames
from sam3_edge.timing.noting import Budget, Clock, Notes, column
from sam3_edge.timing.percentiles import Summary


@dataclass
class Live:
    """A camera of `fps` frames a second, each there at its own time; `ages` in seconds, frame by frame.

    The camera is a clock: what falls out of the slot is neither decoded nor drawn.
    """

    fps: float
    clock: Clock = time.perf_counter
    sleep: Callable[[float], object] = time.sleep
    ages: array[float] = field(default_factory=column)
    newest: int = -1
    dropped: int = 0

    def run(
        self, tracker: Tracker, frames: Frames, budget: Budget, advance: Callable[[int], object]
    ) -> Notes:
        """Frames as they come, until the budget is spent."""
        notes, started = Notes(self.clock), self.clock()
        while not budget.spent(notes):
            captured = started + self.wait(started) / self.fps
            notes.frame(tracker, frames)
            self.ages.append(notes.last - captured)
            advance(1)
        return notes

    def wait(self, started: float) -> int:
        """The number of the newest frame that was not seen, once it is there."""
        there = int((self.clock() - started) * self.fps)
        if there <= self.newest:
            there = self.newest + 1
            self.sleep(max(0.0, started + there / self.fps - self.clock()))
        self.dropped += there - self.newest - 1
        self.newest = there
        return there

    def to_json(self, notes: Notes) -> dict[str, Any]:
        """Frames in and out, and their ages."""
        offered = len(self.ages) + self.dropped
        return {
            "input_fps": self.fps,
            "processed_fps": round(len(self.ages) / notes.span, 3) if notes.span else None,
            "dropped": self.dropped,
            "dropped_share": round(self.dropped / offered, 4),
            "age_ms": Summary.of([1e3 * age for age in self.ages]).to_json(),
        }
