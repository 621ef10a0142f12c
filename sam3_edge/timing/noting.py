"""Frames one after the other, each in its parts, with what the process holds: the rest follows from it."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from sam3_edge.loop.tracker import Tracker
from sam3_edge.machine.memory import resident_mb
from sam3_edge.stopwatch import Stopwatch
from sam3_edge.timing.components import DECODE
from sam3_edge.timing.footage import Frames

Clock = Callable[[], float]
STEADY, NEAR = 0.05, 10  # warm: the last ten frames vary by at most 5 %
MOST_WARM = 100
LEAST = 3


def column() -> array[float]:
    """Eight bytes a frame: what a run is noted in must not look like the run's own growth."""
    return array("d")


@dataclass
class Notes:
    """A run, frame by frame: when each began, its seconds by part, MB resident after it, objects shown.

    `processor` are seconds of all threads over all frames; `resident` is NaN where the system does not tell.
    """

    clock: Clock = time.perf_counter
    begun: array[float] = field(default_factory=column)
    parts: dict[str, array[float]] = field(default_factory=dict)
    resident: array[float] = field(default_factory=column)
    shown: array[float] = field(default_factory=column)
    processor: float = 0.0

    @property
    def seconds(self) -> list[float]:
        """Of every frame: its parts add up to it."""
        return [sum(values) for values in zip(*self.parts.values(), strict=True)]

    @property
    def last(self) -> float:
        """When the last frame ended."""
        return self.begun[-1] + sum(values[-1] for values in self.parts.values())

    @property
    def span(self) -> float:
        """Seconds from the first frame's beginning to the last one's end."""
        return self.last - self.begun[0] if self.begun else 0.0

    def frame(self, tracker: Tracker, frames: Frames) -> None:
        """The next frame: encoded picture in, masks on the host out."""
        watch = Stopwatch(self.clock)
        began, used = self.clock(), time.process_time()
        with watch.frame():
            with watch.part(DECODE):
                pixels = next(frames)
            result = tracker.step(pixels)
        self.processor += time.process_time() - used
        self.note(began, watch.seconds, len(result))

    def note(self, began: float, parts: Mapping[str, float], shown: int) -> None:
        """Put a frame down."""
        for name in parts.keys() - self.parts.keys():
            self.parts[name] = array("d", bytes(8 * len(self.begun)))
        for name, values in self.parts.items():
            values.append(parts.get(name, 0.0))
        self.begun.append(began)
        self.shown.append(shown)
        resident = resident_mb()
        self.resident.append(math.nan if resident is None else resident)


@dataclass(frozen=True)
class Budget:
    """When a run is over: after so many frames and seconds both, at the latest after `most` seconds.

    `most` None: whatever that takes. No run is over before three frames.
    """

    frames: int
    seconds: float
    most: float | None = None

    def spent(self, notes: Notes) -> bool:
        """Whether no frame is to follow."""
        count, span = len(notes.begun), notes.span
        enough = count >= self.frames and span >= self.seconds
        return count >= LEAST and (enough or (self.most is not None and span >= self.most))


@dataclass(frozen=True)
class Warmth:
    """How a run was warmed up."""

    frames: int
    steady: bool


def warm_up(
    tracker: Tracker,
    frames: Frames,
    *,
    clock: Clock,
    exactly: int | None = None,
    most_seconds: float | None = None,
) -> Warmth:
    """Until the last ten frames vary by at most 5 %, for at most 100 frames or so many seconds.

    At least two frames: one gives birth, the next follows, and then every graph has run.
    """
    notes = Notes(clock)
    most = MOST_WARM if exactly is None else exactly
    while len(notes.begun) < max(2, most):
        notes.frame(tracker, frames)
        late = most_seconds is not None and len(notes.begun) > 1 and notes.span > most_seconds
        if exactly is None and (late or steady(notes)):
            break
    return Warmth(len(notes.begun), steady(notes))


def steady(notes: Notes) -> bool:
    """Whether the last ten frames are alike."""
    last = np.array(notes.seconds[-NEAR:])
    if len(last) < NEAR:
        return False
    mean = float(last.mean())
    return mean == 0 or float(last.std(ddof=1)) / mean <= STEADY


def note_run(
    tracker: Tracker,
    frames: Frames,
    budget: Budget,
    *,
    clock: Clock = time.perf_counter,
    advance: Callable[[int], object] = lambda count: None,
) -> Notes:
    """Frames until the budget is spent."""
    notes = Notes(clock)
    while not budget.spent(notes):
        notes.frame(tracker, frames)
        advance(1)
    return notes
