"""One object that is tracked: who it is, what counts for and against it, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from sam3_edge.loop.history import History


@dataclass
class Track:
    """An object. `row` is its place in the memory bank; `concept` None if it was added by hand without one.

    `unmatched` and `overlaps` (an older object's id: how often one detection was of both) count since birth,
    for as long as hot-start may look at them. `last_hidden` is the last frame on which the object was empty
    or gave way to another, -1 for never, None as long as it was not tracked on any frame. A `pinned` object
    was drawn or corrected by hand: hot-start does not touch it.
    """

    id: int
    row: int
    concept: str | None
    born: int
    score: float
    history: History
    keep_alive: int
    pinned: bool = False
    unmatched: int = 0
    overlaps: dict[int, int] = field(default_factory=dict)
    last_hidden: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"history": self.history.to_json(), "overlaps": list(self.overlaps.items())}

    @classmethod
    def from_json(cls, values: dict[str, Any], *, history: History) -> Track:
        """The inverse of `to_json`, around an empty history of the right sizes."""
        history.load(values["history"])
        return cls(**{**values, "history": history, "overlaps": dict(values["overlaps"])})


def of(tracks: Iterable[Track], concept: str | None) -> list[int]:
    """Places of a concept's tracks."""
    return [place for place, track in enumerate(tracks) if track.concept == concept]
