"""The thread that keeps a source running: it starts, watches, kills and starts again what reads a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sam3_edge.camera.address import Address
from sam3_edge.camera.process import Child
from sam3_edge.camera.program import Wish, program_for
from sam3_edge.camera.slot import CameraFrame, Slot
from sam3_edge.camera.stream import FrameStream, Silence
from sam3_edge.errors import EdgeError, SourceError, UsageError
from sam3_edge.video.frames import FPS
from sam3_edge.video.reading import open_video

FLIPS: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "horizontal": lambda pixels: pixels[:, ::-1],
    "vertical": lambda pixels: pixels[::-1],
    "90": lambda pixels: np.rot90(pixels, -1),
    "180": lambda pixels: pixels[::-1, ::-1],
    "270": lambda pixels: np.rot90(pixels),
}
SILENT = 2.0  # seconds without a frame: the camera, the network or a decoder hangs
OPENING, LONGEST = 5.0, 20.0  # seconds until the first frame, doubled every time that none came in them
FIRST_WAIT, LAST_WAIT = 0.25, 2.0  # seconds between attempts, doubled from one to the next

State = Literal["opening", "running", "waiting", "ended"]


@dataclass(frozen=True)
class Source:
    """A source and how it is read. flip: a key of `FLIPS`; loop: a file begins again; the rest in seconds."""

    address: Address
    wish: Wish = field(default_factory=Wish)
    reader: str | None = None
    flip: str | None = None
    loop: bool = False
    silent: float = SILENT
    opening: float = OPENING

    def __post_init__(self) -> None:
        if self.flip is not None and self.flip not in FLIPS:
            raise UsageError(f"flip {self.flip!r}: choose from {', '.join(FLIPS)}")
        if self.loop and (self.address.live or self.address.place == "-"):
            raise UsageError(f"{self.address} cannot begin again: --loop is for files and folders")


class Capture(threading.Thread):
    """Puts the frames of a source into a slot until `stop`, or until a file is over."""

    def __init__(
        self, source: Source, slot: Slot, *, note: Callable[[str], object] = lambda text: None
    ) -> None:
        """`note` is told of every failure, without secrets."""
        super().__init__(name=f"camera {source.address}", daemon=True)
        self.source, self.slot, self.note = source, slot, note
        self.stopping = threading.Event()
        self.state: State = "opening"
        self.count = self.runs = self.restarts = 0
        self.failure: EdgeError | None = None  # of a file, or of a camera that cannot be tried at all
        self.lost: float | None = None  # monotonic time since which there is no picture
        self.child: Child | None = None
        self.killed = threading.Lock()
        self.patience = source.opening

    def run(self) -> None:
        try:
            if self.source.address.live:
                self.run_live()
            else:
                self.run_video()
        except EdgeError as error:
            self.failure = error
            self.note(str(error))
        finally:
            self.state = "ended"
            self.slot.end()

    def stop(self) -> None:
        """End the thread and its child."""
        self.stopping.set()
        self.slot.end()
        with self.killed:
            if self.child is not None:
                self.child.kill()

    def run_live(self) -> None:
        """One child after the other, each after a longer wait as long as none gives a frame."""
        program, wait = program_for(self.source.address, self.source.wish, self.source.reader), 0.0
        while not self.stopping.is_set():
            if not program.told:
                self.stopping.wait(wait)  # it would begin at once
            with self.killed:
                if self.stopping.is_set():
                    return
                child = self.child = Child(program)
            try:
                if program.told:
                    self.stopping.wait(wait)
                self.state, before, began = "opening", self.count, time.monotonic()
                child.begin()
                why = self.watch(FrameStream(child.output, program.size), child)
            finally:
                child.kill()
            if self.stopping.is_set():
                return
            wait = FIRST_WAIT if self.count > before else min(2 * max(wait, FIRST_WAIT), LAST_WAIT)
            self.state, self.restarts, self.runs = "waiting", self.restarts + 1, self.runs + 1
            self.lost = self.lost or (time.monotonic() if self.count > before else began)
            self.note(f"{self.source.address}: {why}; trying again in {wait:g} s")

    def watch(self, stream: FrameStream, child: Child) -> str:
        """Pass frames on until there are none; why there are none."""
        patience = self.patience
        while not self.stopping.is_set():
            try:
                picture = stream.read(patience)
            except Silence:
                if self.state == "opening":
                    self.patience = min(2 * patience, LONGEST)
                return f"no {'new ' if self.state == 'running' else ''}frame for {patience:g} s"
            except (SourceError, OSError, ValueError) as error:
                return str(error)
            if picture is None:
                time.sleep(0.05)  # what it says comes through another pipe
                said = child.said[-1] if child.said else "it ended"
                return self.source.address.scrub(said)
            self.state, self.lost, patience = "running", None, self.source.silent
            self.patience = self.source.opening
            self.give(picture.pixels, captured=picture.captured)
        return "stopped"

    def give(self, pixels: NDArray[np.uint8], *, captured: float, at: float | None = None) -> bool:
        """Put a frame into the slot."""
        if self.source.flip is not None:
            pixels = np.ascontiguousarray(FLIPS[self.source.flip](pixels))
        wall = time.time() - (time.monotonic() - captured)
        frame = CameraFrame(self.count, pixels, captured, wall, time=at, run=self.runs)
        self.count += 1
        return self.slot.put(frame)

    def run_video(self) -> None:
        """A file, a folder or standard input at its own pace, or slower if that is asked; none is dropped."""
        address, wish = self.source.address, self.source.wish
        raw = wish.size if address.place == "-" else None
        video = open_video(address.place, size=raw, fps=wish.rate, note=self.note)
        apart = 1 / (wish.rate or video.fps or FPS)
        due = time.monotonic()
        while True:
            for frame in video.frames():
                # What is piped in has its own pace.
                if address.place != "-" and self.stopping.wait(max(0.0, due - time.monotonic())):
                    return
                self.state = "running"
                if not self.give(frame.pixels, captured=time.monotonic(), at=frame.time):
                    return
                due = max(due + apart, time.monotonic())
            if not self.source.loop:
                return
            self.runs += 1

    def describe(self) -> dict[str, object]:
        """What health says of it."""
        lost = None if self.lost is None else round(time.monotonic() - self.lost, 3)
        return {
            "source": str(self.source.address),
            "state": self.state,
            "frames": self.count,
            "dropped": self.slot.dropped,
            "restarts": self.restarts,
            "without_picture_s": lost,
        }
