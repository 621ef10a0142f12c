"""One source on the engine: its newest frame, its tracker, what is asked of it, and what was seen last."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sam3_edge.camera.capture import Capture, Source
from sam3_edge.camera.slot import CameraFrame, Slot
from sam3_edge.concept import Concept
from sam3_edge.errors import UsageError
from sam3_edge.loop.events import FrameResult
from sam3_edge.loop.tracker import Tracker
from sam3_edge.overlay import RGB
from sam3_edge.tokenizer import clean

WINDOW = 5.0  # seconds over which rates are told
MOST_CONCEPTS = 16  # each costs a run of the detector on every frame
MOST_ORDERS = 64

Order = Callable[["Feed"], FrameResult | None]


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame with its objects. done: when they were known, monotonic; step: seconds of the model."""

    serial: int  # rising with everything that is published of a feed
    frame: CameraFrame
    result: FrameResult
    done: float
    step: float

    @property
    def age(self) -> float:
        """Seconds from the frame's capture until its objects were known."""
        return self.done - self.frame.captured


class Feed:
    """A source, and everything that is known of it. The engine's thread alone touches the tracker."""

    def __init__(
        self,
        number: int,
        source: Source,
        tracker: Tracker,
        *,
        ready: threading.Condition,
        note: Callable[[str], object] = lambda text: None,
        reset: bool = False,
    ) -> None:
        """`ready`: notified when there is something to do; `reset`: new identities after a reconnection."""
        self.number, self.tracker, self.reset = number, tracker, reset
        self.slot = Slot(keeps=not source.address.live, ready=ready)
        self.capture = Capture(source, self.slot, note=note)
        self.orders: deque[tuple[Order, Future[Any]]] = deque()
        self.asked: dict[str, Concept] = {}
        self.colours: dict[str, RGB] = {}
        self.paused = False
        self.latest: Seen | None = None
        self.changed = threading.Condition()
        self.times: deque[float] = deque(maxlen=600)
        self.frames = self.errors = 0
        self.run = 0

    @property
    def due(self) -> bool:
        """Whether there is something to do."""
        return bool(self.orders) or (self.slot.frame is not None and not self.paused)

    @property
    def over(self) -> bool:
        """Whether nothing will ever come."""
        return self.slot.ended and self.slot.frame is None

    @property
    def rate(self) -> float:
        """Frames a second, lately."""
        since = time.monotonic() - WINDOW
        return sum(at >= since for at in tuple(self.times)) / WINDOW

    def order(self, order: Order) -> Future[Any]:
        """Something to do at the next frame boundary; its answer, or the error that it raised."""
        future: Future[Any] = Future()
        with self.slot.ready:
            if len(self.orders) >= MOST_ORDERS:
                raise UsageError(f"{MOST_ORDERS} changes wait already: wait until they are done")
            self.orders.append((order, future))
            self.slot.ready.notify_all()
        return future

    def publish(self, seen: Seen) -> None:
        """The newest that there is to see."""
        with self.changed:
            self.latest = seen
            self.changed.notify_all()

    def wait(self, serial: int, patience: float) -> Seen | None:
        """What was published after `serial`, None if nothing was in so many seconds."""
        with self.changed:
            self.changed.wait_for(lambda: self.latest is not None and self.latest.serial > serial, patience)
            return self.latest if self.latest is not None and self.latest.serial > serial else None

    def add(self, concept: Concept) -> None:
        """Look for a concept; one that is looked for already gets other boxes. On the engine's thread."""
        name = clean(concept.text)
        if name not in self.asked and len(self.asked) >= MOST_CONCEPTS:
            raise UsageError(f"{MOST_CONCEPTS} concepts are looked for already: remove one first")
        if name in self.asked and not concept.boxes:
            raise UsageError(f"{str(concept)!r:.80} is looked for already")
        self.tracker.show(concept)
        self.asked[name] = concept

    def remove(self, phrase: str) -> None:
        """Stop looking for a concept. On the engine's thread."""
        self.tracker.remove(phrase)
        self.asked.pop(clean(phrase), None)
        self.colours.pop(clean(phrase), None)

    def prepare(self, frame: CameraFrame) -> None:
        """Make the tracker fit for a frame that came by another connection, or has another size.

        The model sees squares: what is remembered of objects holds for frames of any size.
        """
        if self.reset and frame.run != self.run:
            self.tracker.reset()
            for concept in self.asked.values():
                if concept.phrase is not None:
                    self.tracker.add(Concept(concept.phrase))
        self.run = frame.run
        self.tracker.size = (frame.pixels.shape[0], frame.pixels.shape[1])
