"""What is given up, rung by rung, before frames get too old or memory runs out; and taken back later."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sam3_edge.camera.feed import Feed, Seen
from sam3_edge.loop.settings import Settings

# Looks for phrases so many times less often, and a part of the objects.
RUNGS = ((1, 1), (2, 1), (4, 1), (4, 2), (8, 4), (8, 16))
LATE, EASY = 5, 50  # frames in a row that lead a rung down, and up again


@dataclass
class Shedder:
    """The rung of one feed. `most_age`: seconds that a frame may be old, None for any."""

    feed: Feed
    settings: Settings
    most_age: float | None
    rung: int = 0
    late: int = 0
    easy: int = 0

    def see(self, seen: Seen) -> None:
        """Judge a frame. On the engine's thread."""
        if self.most_age is None or not self.feed.capture.source.address.live:
            return
        self.late = self.late + 1 if seen.age > self.most_age else 0
        self.easy = self.easy + 1 if seen.age < self.most_age / 2 else 0
        if self.late >= LATE:
            self.step(1)
        elif self.easy >= EASY:
            self.step(-1)

    def step(self, by: int) -> None:
        """Go down by a rung, or up."""
        self.late = self.easy = 0
        rung = min(max(self.rung + by, 0), len(RUNGS) - 1)
        if rung != self.rung:
            self.rung = rung
            apply(self.feed, shed(self.settings, rung))


def shed(settings: Settings, rung: int) -> Settings:
    """The settings on a rung."""
    rarer, fewer = RUNGS[rung]
    return replace(
        settings,
        detect_every=settings.detect_every * rarer,
        max_objects=max(1, settings.max_objects // fewer),
    )


def apply(feed: Feed, settings: Settings) -> None:
    """Give a tracker other settings. Of too many objects, the least sure go; those drawn by hand last."""
    tracker = feed.tracker
    tracker.settings = tracker.roster.settings = settings
    by_worth = sorted(tracker.tracks, key=lambda track: (track.pinned, track.score, -track.id))
    for track in by_worth[: max(0, len(by_worth) - settings.max_objects)]:
        tracker.remove_object(track.id)
