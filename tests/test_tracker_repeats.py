"""The same frames give the same bytes: again, late, after a restart; and rows of the bank are identities."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import conformance
import numpy as np
import pytest
from conformance import Driven
from numpy.typing import NDArray
from scenes import A, B, Scene, see

import sam3_edge
from sam3_edge import Segmenter, Tracker
from sam3_edge.loop.delayed import Delayed
from sam3_edge.loop.events import FrameResult
from sam3_edge.shapes.scenes import draw_scene

FRAMES, RUNS, RESTARTS = 40, 10, 20
NAME = conformance.names()[-1]


def digest(results: Iterable[FrameResult]) -> str:
    """Of every byte that a user gets."""
    total = hashlib.sha256()
    for seen in results:
        total.update(repr((seen.index, seen.concepts, seen.events)).encode())
        for array in (seen.ids, seen.masks, seen.boxes, seen.scores, seen.presence):
            total.update(repr((array.dtype, array.shape)).encode() + array.tobytes())
    return total.hexdigest()


def frames() -> Iterator[NDArray[np.uint8]]:
    """Two pictures in turn that move to the left: objects come and go."""
    rng = np.random.default_rng(4)
    pictures = [draw_scene(rng, size=96).picture for _ in range(2)]
    return (np.roll(pictures[time // 10 % 2], -2 * time, axis=1) for time in range(FRAMES))


@pytest.fixture(scope="module")
def model(exported: Path) -> Iterator[Segmenter]:
    with sam3_edge.load(exported, threads=1) as found:
        yield found


def start(model: Segmenter) -> Tracker:
    tracker = Tracker(model.session, model.config, model.phrases)
    tracker.add("red shape")
    return tracker


def test_runs_are_the_same_to_the_byte(model: Segmenter) -> None:
    digests = []
    for _ in range(RUNS):
        tracker = start(model)
        digests.append(digest(tracker.step(frame) for frame in frames()))
    assert len(set(digests)) == 1 and tracker.roster.next_id >= 3


def test_restarts_change_nothing(model: Segmenter, tmp_path: Path) -> None:
    """A new tracker takes over from the file on twenty of forty frames, with real memories in it."""
    whole = start(model)
    want = [whole.step(frame) for frame in frames()]
    stops = set(np.random.default_rng(0).choice(FRAMES - 1, RESTARTS, replace=False).tolist())
    tracker, got = start(model), []
    for time, frame in enumerate(frames()):
        got.append(tracker.step(frame))
        if time in stops:
            place = tracker.save(tmp_path / "state.npz")
            tracker = Tracker(model.session, model.config, model.phrases)
            tracker.restore(place)
    assert len(stops) == RESTARTS and sum(len(seen) for seen in want) > FRAMES // 2
    assert digest(got) == digest(want)


def test_restarts_change_nothing_whatever_happens(tmp_path: Path) -> None:
    """The same on a clip with every kind of event, at twenty frames of it."""
    vector = conformance.load(NAME)
    driven = Driven(vector)
    want = [driven.tracker.step(frame) for frame in vector.frames()]
    stops = np.random.default_rng(1).choice(len(want) - 1, RESTARTS, replace=False) + 1
    driven, got = Driven(vector), []
    for time, frame in enumerate(vector.frames()):
        if time in stops:
            place = driven.tracker.save(tmp_path / "state.npz")
            driven = Driven(vector, start=time)
            driven.tracker.restore(place)
        got.append(driven.tracker.step(frame))
    assert digest(got) == digest(want)
    assert {event.kind for seen in want for event in seen.events} >= {
        "retraction",
        "suppression",
        "recondition",
    }


def test_a_whole_file_is_its_frames_one_by_one() -> None:
    """`follow` gives what `step` and `finish` give, and what is shown live less what is taken back."""
    vector = conformance.load(NAME)
    whole = list(Delayed(Driven(vector).tracker).follow(vector.frames()))
    later = Delayed(Driven(vector).tracker)
    ripe = [later.step(frame) for frame in vector.frames()]
    assert digest(whole) == digest([*(seen for seen in ripe if seen), *later.finish()])
    tracker = Driven(vector).tracker
    live = [tracker.step(frame) for frame in vector.frames()]
    gone = {event.id: seen.index for seen in live for event in seen.events if event.kind == "retraction"}
    assert gone
    for now, late in zip(live, whole, strict=True):
        soon = {id for id, frame in gone.items() if now.index <= frame < now.index + later.frames}
        assert [id for id in now.ids.tolist() if id not in soon] == late.ids.tolist()
        if not soon:
            assert digest([now]) == digest([late])


def test_who_has_the_row_has_the_mask() -> None:
    """The contents of two rows swapped: each object is found where the other was."""
    scene = Scene([see((0.9, A), (0.9, B))] * 6)
    scene.step(3)
    first = scene.results[-1].masks
    bank = scene.tracker.roster.bank
    for arena in bank.arenas.values():
        one, other = (np.array(scene.session.rows(arena, row, row + 1)) for row in (0, 1))
        scene.session.write(arena, (slice(0, 1),), other)
        scene.session.write(arena, (slice(1, 2),), one)
    seen = scene.step()
    assert seen.ids.tolist() == [0, 1]
    np.testing.assert_array_equal(seen.masks, first[::-1])
