"""Results on the disk: lines that rotate, snapshots of events. A full disk stops them, and nothing else."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam3_edge.camera.drawing import jpeg
from sam3_edge.camera.feed import Feed, Seen
from sam3_edge.errors import EdgeError
from sam3_edge.video.frames import VideoFrame
from sam3_edge.video.outputs import RESULTS, Lines
from sam3_edge.video.results import SCHEMA, as_line, frame_line
from sam3_edge.writing import write_file

SNAPSHOTS = "snapshots"
WAITING = 64  # frames that may wait for a slow disk: beyond them, those of a camera are not recorded
AGAIN = 30.0  # seconds after which a disk that was full is tried again
APART = 1.0  # seconds between snapshots
KINDS = ("birth", "retraction", "removal", "correction", "recondition", "hidden", "dropped")
OLD = re.compile(r"results\.(\d{6})\.jsonl")


@dataclass(frozen=True)
class Recording:
    """What is kept, and how much: whether results are, bytes of a file, earlier files, pictures."""

    folder: Path
    lines: bool = True
    most_bytes: int = 64 << 20
    most_files: int = 16
    snapshots: frozenset[str] = frozenset()  # kinds of events, of `KINDS`
    most_snapshots: int = 500


class Recorder(threading.Thread):
    """Writes what is seen, in order, until `stop`."""

    def __init__(self, recording: Recording, feeds: Collection[Feed], *, header: dict[str, Any]) -> None:
        super().__init__(name="recorder", daemon=True)
        self.recording, self.header = recording, header
        several = len(feeds) > 1
        self.books = {
            feed.number: Book(recording.folder / str(feed.number) if several else recording.folder, recording)
            for feed in feeds
        }
        self.waiting: deque[tuple[Feed, Seen]] = deque()
        self.changed = threading.Condition()
        self.stopping = False
        self.lines = self.lost = 0
        self.why: str | None = None  # nothing is written at present
        self.next_try = 0.0

    def add(self, feed: Feed, seen: Seen) -> None:
        """Write a frame soon. Waits for the disk only where frames can wait too."""
        with self.changed:
            if feed.slot.keeps:
                self.changed.wait_for(lambda: len(self.waiting) < WAITING or self.stopping)
            elif len(self.waiting) >= WAITING:
                self.waiting.popleft()
                self.lost += 1
            self.waiting.append((feed, seen))
            self.changed.notify_all()

    def run(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.stopping)
                if not self.waiting:
                    break
                feed, seen = self.waiting.popleft()
                self.changed.notify_all()
            self.write(feed, seen)
        for book in self.books.values():
            book.close()

    def write(self, feed: Feed, seen: Seen) -> None:
        """One frame; a disk that takes nothing is left alone for a while."""
        if self.why is not None and time.monotonic() < self.next_try:
            self.lost += 1
            return
        try:
            self.books[feed.number].add(feed, seen, self.header)
        except EdgeError as error:
            self.why, self.next_try = str(error), time.monotonic() + AGAIN
            self.lost += 1
            return
        self.why = None
        self.lines += 1

    def stop(self) -> None:
        """Write what waits, and end."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()
        self.join()

    def describe(self) -> dict[str, Any]:
        """What health says of it."""
        state = "stopped" if self.why else "on"
        return {"state": state, "why": self.why, "lines": self.lines, "lost": self.lost}


class Book:
    """The files of one feed in a folder: `results.jsonl`, which grows, and earlier ones by rising numbers."""

    def __init__(self, folder: Path, recording: Recording) -> None:
        self.folder, self.recording = folder, recording
        self.lines: Lines | None = None
        self.pictured = 0.0

    def add(self, feed: Feed, seen: Seen, header: dict[str, Any]) -> None:
        """A frame's line, and its picture if something happened that is to be kept."""
        if self.recording.lines:
            if self.lines is not None and self.lines.size >= self.recording.most_bytes:
                self.close()
            if self.lines is None:
                self.open(feed, seen, header)
            assert self.lines is not None
            self.lines.add(as_line(line_of(seen)))
        kinds = self.recording.snapshots & {event.kind for event in seen.result.events}
        if kinds and time.monotonic() - self.pictured >= APART:
            self.pictured = time.monotonic()
            self.picture(feed, seen, min(kinds))

    def open(self, feed: Feed, seen: Seen, header: dict[str, Any]) -> None:
        """Begin a file, and give the one that is there a number."""
        path = self.folder / RESULTS
        numbers = sorted(int(m[1]) for name in listed(self.folder) if (m := OLD.fullmatch(name)))
        if path.exists():
            numbers.append(numbers[-1] + 1 if numbers else 1)
            os.rename(path, self.folder / f"results.{numbers[-1]:06}.jsonl")
        for number in numbers[: max(0, len(numbers) - self.recording.most_files)]:
            (self.folder / f"results.{number:06}.jsonl").unlink(missing_ok=True)
        height, width = seen.frame.pixels.shape[:2]
        source = {"name": str(feed.capture.source.address), "width": width, "height": height}
        lines = Lines(path)
        try:
            lines.add(as_line({"schema": SCHEMA, **header, "source": source}))
        except EdgeError:
            lines.close()
            raise
        self.lines = lines

    def picture(self, feed: Feed, seen: Seen, kind: str) -> None:
        """A snapshot, and the oldest go."""
        folder = self.folder / SNAPSHOTS
        moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seen.frame.wall))
        write_file(folder / f"{moment}-{seen.frame.index:09}-{kind}.jpg", jpeg(feed, seen), overwrite=True)
        names = sorted(name for name in listed(folder) if name.endswith(".jpg"))
        for name in names[: max(0, len(names) - self.recording.most_snapshots)]:
            (folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """The file at hand is whole."""
        if self.lines is not None:
            self.lines.close()
            self.lines = None


def listed(folder: Path) -> list[str]:
    """The names in a folder, none if it is not there."""
    return os.listdir(folder) if folder.is_dir() else []


def line_of(seen: Seen) -> dict[str, Any]:
    """A line as videos have it, and how the frame came: wall seconds, age in seconds, drops before."""
    frame = seen.frame
    at = frame.wall if frame.time is None else frame.time
    line = frame_line(VideoFrame(frame.index, at, frame.pixels), seen.result)
    return line | {"wall": round(frame.wall, 6), "age": round(seen.age, 6), "dropped": frame.dropped}
