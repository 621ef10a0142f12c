"""A session that is asked anything, in any order: nothing but typed errors, which change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenes import CONFIG, SIDE, Moment, Scene, detector, disc, drawer

from sam3_edge.boxes import Box
from sam3_edge.concept import Concept
from sam3_edge.errors import UsageError
from sam3_edge.loop.events import FrameResult
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.state import described

ORDERS, CAP = 250, 5
SETTINGS = Settings(max_objects=CAP, hot_start=4, hot_unmatched=2, hot_duplicate=2, recondition_every=3)
PHRASES = ("cat", "dog", " CAT ", "owl", "")
ACTORS = [disc(4 + 6 * place, 6 + 5 * (place % 4), 4) for place in range(5)]


class Anything:
    """A tracker, and orders drawn from a seed. `done` counts those that were followed, by name."""

    def __init__(self, seed: int, place: Path) -> None:
        self.rng, self.place = np.random.default_rng(seed), place
        self.first = (int(self.rng.integers(1, 70)), int(self.rng.integers(1, 70)))
        self.scene = Scene([], ACTORS, concepts=(), settings=SETTINGS, refined=ACTORS[2])
        self.scene.session.frames = self.moments()
        self.tracker, self.seen = self.scene.tracker, set[int]()
        self.done: dict[str, int] = {}

    def moments(self) -> Iterator[Mapping[str, Any]]:
        """Frames without end; each concept finds some actors, and some actors are not to be seen."""
        while True:
            shown = self.rng.permutation(len(ACTORS))[: self.rng.integers(0, 4)]
            found = tuple((float(self.rng.uniform(0.4, 0.99)), ACTORS[i]) for i in shown)
            away = {int(self.rng.integers(5)): np.full((SIDE, SIDE), -1024, np.float32)}
            moment = Moment((found,), tracked=away, scores=dict.fromkeys(away, -1.0))
            yield {
                **self.scene.frame(moment),
                "detector": lambda feeds, found=found: detector(found),
                "masks": lambda feeds, moment=moment: drawer(moment, feeds),
            }

    @property
    def size(self) -> tuple[int, int]:
        """Of the frames: the first after a reset may have another."""
        return self.tracker.size or self.first

    def number(self, end: float) -> float:
        return float(self.rng.uniform(-0.05, 1.01) * end)

    def box(self) -> Box:
        x0, y0 = self.number(self.size[1]), self.number(self.size[0])
        wide, high = self.rng.uniform(0.01, 30, 2).tolist()
        return Box(x0, y0, x0 + wide, y0 + high, bool(self.rng.random() < 0.8))

    def drawn(self) -> dict[str, Any]:
        """Something to draw, or nothing that can be drawn."""
        kind = self.rng.integers(5)
        points = [(self.number(self.size[1]), self.number(self.size[0]), bool(kind)) for _ in range(kind + 1)]
        mask = self.rng.random(self.size if kind else (3, 3)) < 0.5
        both = {"points": points, "box": self.box()}
        return ({"points": points}, {"box": self.box()}, {"mask": mask}, both, {})[int(self.rng.integers(5))]

    def some_id(self) -> Any:
        """Of an object, mostly; as a number of numpy's, as results have them."""
        there = [track.id for track in self.tracker.tracks]
        return self.rng.choice([*there, -1, self.tracker.roster.next_id])

    def orders(self) -> dict[str, Callable[[], object]]:
        tracker, phrase = self.tracker, PHRASES[self.rng.integers(len(PHRASES))]
        boxes = tuple(self.box() for _ in range(self.rng.integers(0, 3)))
        pixels = np.zeros((*self.size, 3), np.uint8)
        return {
            "step": lambda: tracker.step(pixels),
            "step on": lambda: tracker.step(pixels),
            "another size": lambda: tracker.step(np.zeros((*np.add(self.size, 1), 3), np.uint8)),
            "add": lambda: tracker.add(phrase),
            "add boxes": lambda: tracker.add(Concept(phrase or None, boxes)),
            "show": lambda: tracker.show(Concept(phrase, boxes)),
            "remove": lambda: tracker.remove(phrase),
            "draw": lambda: tracker.add_object(**self.drawn(), concept=phrase or None),
            "draw alone": lambda: tracker.add_object(**self.drawn()),
            "correct": lambda: tracker.correct(self.some_id(), **self.drawn()),
            "forget": lambda: tracker.remove_object(self.some_id()),
            "restore": lambda: tracker.restore(tracker.save(self.place)),
        }

    def follow(self, name: str) -> None:
        """One order. What is refused changes nothing."""
        before = described(self.tracker)
        try:
            result = self.orders()[name]()
        except UsageError:
            assert described(self.tracker) == before, name
            return
        self.done[name] = self.done.get(name, 0) + 1
        if isinstance(result, FrameResult):
            self.check(result)

    def check(self, result: FrameResult) -> None:
        """What holds of every frame."""
        ids, tracks = result.ids.tolist(), self.tracker.tracks
        assert ids == sorted(set(ids)) and result.masks.shape == (len(ids), *self.size)
        assert sorted(t.row for t in tracks) == list(range(len(tracks))) and len(tracks) <= CAP
        assert {t.id for t in tracks} <= set(range(self.tracker.roster.next_id))
        born = {event.id for event in result.events if event.kind == "birth"}
        self.seen |= born
        assert set(ids) <= self.seen, "an object without a birth"
        height, width = self.size
        assert not len(ids) or ((result.boxes >= 0).all() and (result.boxes <= [width, height] * 2).all())
        for track in tracks:
            memories = (*track.history.conditioning, *track.history.recent)
            for field, most in (("slot", CONFIG.memory_slots), ("pointer", CONFIG.pointer_slots)):
                slots = [at for memory in memories if (at := getattr(memory, field)) is not None]
                assert len(slots) == len(set(slots)) <= most


@pytest.mark.parametrize("seed", range(4))
def test_anything_may_be_asked(seed: int, tmp_path: Path) -> None:
    session = Anything(seed, tmp_path / "state.npz")
    names = list(session.orders())
    for place in range(ORDERS):
        session.follow(str(session.rng.choice(names)))
        if place % 80 == 79:
            session.tracker.reset()
    assert session.done.keys() >= {"step", "add", "show", "remove", "draw", "correct", "forget", "restore"}
    assert len(session.seen) > 3 * CAP
