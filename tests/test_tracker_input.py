"""Input that is wrong, or strange, to a session: typed errors, or a documented result."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import SIDE, A, B, Moment, Scene, kinds, see

from sam3_edge.boxes import Box
from sam3_edge.concept import Concept
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.state import described


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((64, 96), np.uint8),
        np.zeros((64, 96, 4), np.uint8),
        np.zeros((64, 96, 3), np.float32),
        np.full((64, 96, 3), np.nan),
        np.zeros((0, 96, 3), np.uint8),
        np.zeros((64, 95, 3), np.uint8),
        [[0]],
        None,
    ],
)
def test_frames_that_are_none(frame: np.ndarray) -> None:
    scene = Scene([see((0.9, A))] * 2)
    scene.step()
    with pytest.raises(UsageError, match="frame"):
        scene.tracker.step(frame)
    assert scene.step().index == 1  # nothing happened


def test_frames_of_any_size_and_stride() -> None:
    for height, width in ((1, 1), (1, 300), (700, 2)):
        scene = Scene([see((0.9, A))] * 2)
        pixels = np.zeros((2 * height, 3 * width, 3), np.uint8)[::-2, ::3]
        for _ in range(2):
            result = scene.tracker.step(pixels)
            assert result.masks.shape[1:] == (height, width)
    scene = Scene([see((0.9, np.full((SIDE, SIDE), 9, np.float32)))])
    assert scene.step().masks.all()  # an object larger than the frame


@pytest.mark.parametrize(
    "broken", [see((np.nan, A)), see((0.9, A), scores={0: np.nan}), see((0.9, A), ious={0: np.inf})]
)
def test_a_frame_on_which_a_graph_fails_changes_nothing(broken: Moment) -> None:
    scene = Scene([see((0.9, A), (0.9, B)), broken, see((0.9, A), (0.9, B))])
    scene.step()
    scene.tracker.remove_object(1)
    scene.tracker.show(Concept("cat", (Box(0, 0, 9, 9),)))
    before = described(scene.tracker)
    with pytest.raises(CheckError, match="no numbers"):
        scene.step()
    assert described(scene.tracker) == before
    shown = scene.step()
    assert shown.index == 1 and ("removal", 1) in kinds(shown) and shown.ids.tolist()[0] == 0


def test_boxes_beside_the_first_frame_are_told_and_the_next_may_have_another_size() -> None:
    scene = Scene([see((0.9, A))] * 3, concepts=(Concept("cat", (Box(200, 0, 210, 9),)),))
    with pytest.raises(UsageError, match="outside the picture"):
        scene.step()
    assert scene.tracker.step(np.zeros((64, 300, 3), np.uint8)).index == 0


def test_concepts_that_cannot_be_asked() -> None:
    tracker = Scene([]).tracker
    for asked, fact in (("Cat ", "already"), (["dog", "DOG"], "twice"), ([], "no concept"), ("", "empty")):
        with pytest.raises(UsageError, match=fact):
            tracker.add(asked)
    with pytest.raises(UsageError, match="boxes"):
        tracker.add(Concept("dog", tuple(Box(0, 0, i + 1, 1) for i in range(3))))
    with pytest.raises(UsageError, match="not looked for"):
        tracker.remove("dog")
    assert list(tracker.concepts) == ["cat"]


def test_two_hundred_objects_are_tracked_as_far_as_there_is_room() -> None:
    names = [f"thing {i}" for i in range(200)]
    one = Moment(tuple(((0.9, A),) for _ in names))
    scene = Scene([one] * 2, concepts=names)
    assert len(scene.step()) == 64 and len(scene.events("dropped")) == 136
    assert len(scene.step()) == 64


def test_settings_out_of_range() -> None:
    for values, fact in (
        ({"nms": 1.5}, "nms"),
        ({"max_objects": 0}, "max_objects"),
        ({"hot_start": 4}, "hot_start"),
    ):
        with pytest.raises(UsageError, match=fact):
            Settings(**values)
    assert Settings.from_json(Settings(batch=7).to_json()) == Settings(batch=7)
    with pytest.raises(CheckError, match="unknown field 'x'"):
        Settings.from_json({"x": 1})
