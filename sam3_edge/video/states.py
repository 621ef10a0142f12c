"""Saved states of a tracker during a run, from which it can go on."""

from __future__ import annotations

from pathlib import Path

from sam3_edge.loop.tracker import Tracker

EVERY = 64  # frames: what is lost at most, and a state of ten objects is 66 MB at full size


class States:
    """The last states in a folder, named after how many frames the tracker had seen.

    Results may be told later than the frames are seen. A state is of use once all frames before it are told,
    and only then are older ones removed.
    """

    def __init__(self, folder: Path, *, every: int = EVERY) -> None:
        self.folder, self.every = folder, every
        self.last = 0

    def keep(self, tracker: Tracker, told: int) -> None:
        """Save the state, if it is time; `told` frames have been told."""
        if tracker.index % self.every or tracker.index == self.last:
            return
        tracker.save(self.path(tracker.index))
        self.last = tracker.index
        usable = self.usable(told)
        for count in self.counts():
            if count < usable:
                self.path(count).unlink()

    def usable(self, told: int) -> int:
        """The latest state that a run with so many whole lines can go on from, 0 for the beginning."""
        return max((count for count in self.counts() if count <= told), default=0)

    def counts(self) -> list[int]:
        """The states there are."""
        return [int(path.stem) for path in self.folder.glob("*.npz") if path.stem.isdecimal()]

    def path(self, count: int) -> Path:
        return self.folder / f"{count}.npz"
