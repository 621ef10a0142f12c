"""Frames on which nothing is looked for: objects are followed, and nothing speaks for or against them."""

from __future__ import annotations

import pytest
from scenes import A, B, Moment, Scene, kinds, see

from sam3_edge.boxes import Box
from sam3_edge.concept import Concept
from sam3_edge.errors import UsageError
from sam3_edge.loop.settings import Settings


def every(looks: int, **more: int | bool) -> Settings:
    return Settings(detect_every=looks, **more)  # type: ignore[arg-type]


def looked(scene: Scene, frames: int) -> list[int]:
    """The frames on which the detector ran."""
    seen = []
    for _ in range(frames):
        index = scene.step().index
        if scene.fed("detector"):
            seen.append(index)
    return seen


def test_phrases_are_looked_for_on_every_nth_frame_and_objects_followed_on_all() -> None:
    scene = Scene([see((0.9, A))] * 9, settings=every(4))
    assert looked(scene, 9) == [0, 4, 8]
    assert all(result.ids.tolist() == [0] for result in scene.results)
    assert [frame for frame, *_ in scene.events("match")] == [4, 8]


def test_a_phrase_that_is_asked_in_between_is_looked_for_at_once() -> None:
    dog = ((0.9, B),)
    scene = Scene([see(), see(), Moment((dog,)), see(), Moment(((), dog))], settings=every(4))
    scene.step(2)
    scene.tracker.add("dog")
    assert scene.step().concepts == ("dog",) and len(scene.fed("detector")) == 1  # the dog alone
    assert looked(scene, 2) == [4] and len(scene.fed("detector")) == 2


def test_nothing_counts_against_an_object_when_nothing_is_looked_for() -> None:
    scene = Scene([see((0.9, A), (0.9, B)), *[see((0.9, A))] * 19], settings=every(8))
    scene.step(8)  # eight frames in which B is not detected, none of them looked at
    track = scene.tracker.tracks[1]
    assert (track.id, track.unmatched, track.keep_alive) == (1, 0, 30)
    assert not [kind for result in scene.results for kind in kinds(result) if kind[0] != "birth"]


@pytest.mark.parametrize(("looks", "frame"), [(1, 8), (2, 8), (3, 9), (5, 10), (8, 8)])
def test_hot_start_asks_for_the_same_share_of_looks(looks: int, frame: int) -> None:
    """Eight misses of fifteen frames: four of the eight looks at every second frame, and so on."""
    scene = Scene([see((0.9, A), (0.9, B)), *[see((0.9, A))] * 14], settings=every(looks))
    scene.step(15)
    assert scene.events("retraction") == [(frame, 1, ())]


def test_reconditioning_waits_for_the_next_look() -> None:
    scene = Scene([see((0.9, A))] * 50, settings=every(5))
    scene.step(50)
    assert [frame for frame, *_ in scene.events("recondition")] == [20, 35]  # due on 16, 32 and 48


def test_hidden_objects_stay_hidden_in_between() -> None:
    settings = every(2, hide_unmatched=True, keep_alive=1, hot_start=0)
    scene = Scene([see((0.9, A)), *[see()] * 5], settings=settings)
    scene.step(6)
    assert [len(result) for result in scene.results] == [1, 1, 0, 0, 0, 0]


def test_other_boxes_for_a_concept_that_is_looked_for() -> None:
    scene = Scene([see((0.9, A))] * 4)
    scene.step()
    assert not scene.fed("exemplar")[0]["labels"].any()
    scene.tracker.show(Concept("cat", (Box(1, 1, 9, 9),)))
    assert scene.step().ids.tolist() == [0]
    assert scene.fed("exemplar")[0]["labels"].sum() == 1
    scene.step()
    assert not scene.fed("exemplar")[0]["labels"].any()  # they spoke for one frame
    with pytest.raises(UsageError, match="outside the picture"):
        scene.tracker.show(Concept("cat", (Box(900, 1, 999, 9),)))
