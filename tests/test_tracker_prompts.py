"""Prompts during a session: concepts that come and go, points, boxes and masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scenes import CONFIG, PIXELS, SIDE, SIZE, A, B, C, Moment, Scene, f32, kinds, see

from sam3_edge.boxes import Box
from sam3_edge.errors import UsageError
from sam3_edge.loop.delayed import Delayed
from sam3_edge.loop.events import Event
from sam3_edge.loop.prompts import Point, Prompt, choose, tokens
from sam3_edge.loop.settings import Settings
from sam3_edge.resize import enlarge
from sam3_edge.spec import MASKED

MASK = enlarge(C[None], *SIZE)[0]


def test_an_object_from_a_click_lives_on_its_own() -> None:
    scene = Scene([see((0.9, A)), *[see((0.9, A))] * 12], refined=C)
    scene.step()
    shown = scene.tracker.add_object(points=[(48, 48)])
    assert shown.ids.tolist() == [0, 1] and shown.concepts == ("cat", None) and shown.index == 0
    np.testing.assert_array_equal(shown.masks[1], MASK)
    assert shown.scores.tolist()[1] == 1 and ("birth", 1) in kinds(shown)
    assert scene.step(12).ids.tolist() == [0, 1]  # never matched, never retracted
    assert not scene.events("unmatched")


def test_a_drawn_object_of_a_concept_takes_its_detections() -> None:
    scene = Scene([see((0.9, A)), *[see((0.9, A), (0.9, C))] * 3], refined=C)
    scene.step()
    scene.tracker.add_object(box=Box(30, 30, 60, 60), concept=" CAT ")
    result = scene.step(3)
    assert result.ids.tolist() == [0, 1] and result.concepts == ("cat", "cat")
    assert (1, 1, (1,)) in scene.events("match")


def test_an_object_from_a_mask() -> None:
    scene = Scene([see((0.9, A)), see((0.9, A))])
    scene.step()
    shown = scene.tracker.add_object(mask=MASK)
    assert np.mean(shown.masks[1] ^ MASK) < 0.01
    init = scene.fed("tracker_init")[-1]["mask"]
    assert init.shape == (1, 1, 4 * SIDE, 4 * SIDE) and 0 < init.mean() < 0.2 and init.max() == 1
    assert scene.fed("memorize")[-1]["hard"].tolist() == [1]
    assert scene.step().ids.tolist() == [0, 1]


def test_a_correction_keeps_the_identity_and_is_remembered_by_hand() -> None:
    scene = Scene([see((0.9, A), (0.9, B)), *[see((0.9, A))] * 12], refined=C)
    scene.step(4)
    shown = scene.tracker.correct(1, points=[Point(48, 48), (10, 10, False)])
    assert shown.ids.tolist() == [0, 1] and ("correction", 1) in kinds(shown)
    np.testing.assert_array_equal(shown.masks[1], MASK)
    (feeds,) = scene.fed("tracker_refine")
    assert feeds["has_previous"].tolist() == [1] and feeds["labels"][0, :4].tolist() == [1, 0, -1, -1]
    np.testing.assert_array_equal(feeds["previous"][0, 0], B)
    history = scene.tracker.tracks[1].history
    assert [(m.frame, m.by_hand) for m in history.conditioning] == [(3, True)]  # its birth is 3 frames away
    assert [m.frame for m in history.recent] == [1, 2]
    result = scene.step(9)
    assert result.ids.tolist() == [0, 1]  # pinned: unmatched all the way
    np.testing.assert_array_equal(result.masks[1], MASK)


def test_a_correction_may_make_what_was_followed_forgotten() -> None:
    scene = Scene([see((0.9, A))] * 12, settings=Settings(mistaken_window=2), refined=C)
    scene.step(8)
    scene.tracker.correct(0, points=[(48, 48)])
    assert [m.frame for m in scene.tracker.tracks[0].history.recent] == [1, 2, 3, 4]
    np.testing.assert_array_equal(scene.step(2).masks[0], MASK)


def test_a_correction_that_finds_nothing_is_remembered_as_absent() -> None:
    scene = Scene([see((0.9, A))], refined=np.full((SIDE, SIDE), -1024, np.float32), refined_score=-1)
    scene.step()
    assert scene.tracker.correct(0, points=[(1, 1)]).ids.tolist() == []
    assert scene.fed("memorize")[-1]["present"].tolist() == [0]


def test_concepts_come_and_go_without_touching_the_others() -> None:
    cat, both = Moment((((0.9, A),),)), Moment((((0.9, A),), ((0.9, C),)))
    scene = Scene([cat, both, both, cat, both])
    scene.step()
    scene.tracker.add("dog")
    assert scene.step(2).concepts == ("cat", "dog")
    scene.tracker.remove("Dog")
    result = scene.step()
    assert result.concepts == ("cat",) and ("removal", 1) in kinds(result)
    scene.tracker.add("dog")
    assert scene.step().ids.tolist() == [0, 2]  # ids are not used again


def test_removed_objects_are_gone_and_ids_go_on_after_a_reset() -> None:
    scene = Scene([see((0.9, A), (0.9, B)), see((0.9, B)), see((0.9, A))])
    scene.step()
    scene.tracker.remove_object(0)
    assert scene.step().ids.tolist() == [1]
    with pytest.raises(UsageError, match="object 0 is gone"):
        scene.tracker.correct(0, points=[(1, 1)])
    with pytest.raises(UsageError, match="object 7 was never there"):
        scene.tracker.remove_object(7)
    scene.tracker.reset()
    with pytest.raises(UsageError, match="before the first frame"):
        scene.tracker.add_object(points=[(1, 1)])
    scene.tracker.add("cat")
    result = scene.step()
    assert result.ids.tolist() == [2] and result.index == 0


def test_what_was_removed_is_not_there_when_its_last_frame_is_drawn_on() -> None:
    scene = Scene([see((0.9, A), (0.9, B)), see()], refined=C)
    scene.step()
    scene.tracker.remove_object(scene.results[0].ids[0])
    shown = scene.tracker.add_object(points=[(48, 48)])
    assert shown.ids.tolist() == [1, 2]
    scene.tracker.remove("CAT")
    assert scene.tracker.correct(2, points=[(48, 48)]).ids.tolist() == [2]
    assert [event for event in scene.step().events if event.kind == "removal"] == [
        Event("removal", id, concept="cat") for id in (0, 1)
    ]


@pytest.mark.parametrize("id", [7, -1, None, "0", 0.5])
def test_ids_that_no_object_has(id: Any) -> None:
    scene = Scene([see((0.9, A))])
    scene.step()
    for call in (scene.tracker.remove_object, lambda id: scene.tracker.correct(id, points=[(1, 1)])):
        with pytest.raises(UsageError, match="was never there"):
            call(id)


def test_tokens_are_scaled_and_padded_with_one_that_is_no_point() -> None:
    prompt = Prompt((Point(48, 16), Point(0, 64, False)), Box(24, 32, 72, 48))
    feeds = tokens(prompt, CONFIG, SIZE)
    scale = CONFIG.image_size
    want = [[0.25, 0.5], [0.75, 0.75], [0.5, 0.25], [0, 1], [0, 0]]
    np.testing.assert_allclose(feeds["points"][0, :5], np.array(want) * scale)
    assert feeds["labels"][0, :6].tolist() == [2, 3, 1, 0, -1, -1]
    assert feeds["point_bias"][0].tolist() == [0] * 5 + [np.float32(MASKED)] * 13
    many = Prompt(tuple(Point(i, 0) for i in range(30)))
    kept = tokens(many, CONFIG, (64, CONFIG.image_size))["points"][0, :16, 0].tolist()
    assert kept == [*range(8), *range(22, 30)]


def test_a_single_click_gets_the_best_of_three_and_more_a_stable_one() -> None:
    masks, iou, settings = np.stack([A, B, C, A]), f32([0.99, 0.2, 0.7, 0.7]), Settings()
    assert choose(masks, iou, several=True, settings=settings) == 2
    assert choose(masks, iou, several=False, settings=settings) == 0
    masks[0] = np.where(A > 0, np.float32(0.04), A)
    assert choose(masks, iou, several=False, settings=settings) == 2
    masks[0] = -9
    assert choose(masks, iou, several=False, settings=settings) == 0


@pytest.mark.parametrize(
    ("drawn", "fact"),
    [
        ({}, "nothing is drawn"),
        ({"points": [(1, 1)], "mask": MASK}, "one or the other"),
        ({"points": [(97, 1)]}, "point .* outside the picture"),
        ({"points": [(float("nan"), 1)]}, "finite"),
        ({"points": (48, 48)}, "want a sequence"),
        ({"points": [("left", 1)]}, "want a sequence"),
        ({"box": (0, 0, 9, 9)}, "want a Box"),
        ({"box": Box(100, 0, 110, 9)}, "outside the picture"),
        ({"box": Box(0, 0, 9, 9, False)}, "negative"),
        ({"mask": MASK[:-1]}, "want bool"),
        ({"mask": MASK.astype(np.uint8)}, "want bool"),
        ({"mask": np.zeros_like(MASK)}, "no pixel"),
        ({"points": [(1, 1)], "concept": "dog"}, "not looked for"),
    ],
)
def test_what_cannot_be_drawn(drawn: dict[str, object], fact: str) -> None:
    scene = Scene([see((0.9, A))])
    scene.step()
    with pytest.raises(UsageError, match=fact):
        scene.tracker.add_object(**drawn)  # type: ignore[arg-type]
    assert len(scene.tracker.tracks) == 1 and scene.tracker.roster.next_id == 1


def test_too_many_objects_by_hand() -> None:
    scene = Scene([see((0.9, A))], settings=Settings(max_objects=1))
    scene.step()
    with pytest.raises(UsageError, match="1 objects already"):
        scene.tracker.add_object(points=[(1, 1)])


def test_what_is_drawn_is_also_told_late() -> None:
    scene = Scene([see((0.9, A))] * 4, refined=C)
    later = Delayed(scene.tracker, frames=3)
    later.step(PIXELS)
    scene.tracker.add_object(points=[(48, 48)])
    later.step(PIXELS)
    result = later.step(PIXELS)
    assert result is not None and result.ids.tolist() == [0, 1] and ("birth", 1) in kinds(result)
