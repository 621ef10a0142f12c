"""What the loop remembers, its cap and its batches, and the offline policy, on scripted answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import CONFIG, PIXELS, A, B, C, Moment, Scene, kinds, see

from sam3_edge.boxes import Box
from sam3_edge.concept import Concept
from sam3_edge.errors import UsageError
from sam3_edge.loop.delayed import Delayed
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.tracker import Tracker
from sam3_edge.resize import enlarge
from sam3_edge.spec import MASKED


def test_what_the_tracker_is_fed_of_the_past() -> None:
    # A frame of low quality counts as the last one only, and then no more.
    moments = [see((0.9, A))] * 3 + [see((0.9, A), ious={0: 0.001})] + [see((0.9, A))] * 3
    scene = Scene(moments)
    scene.step(5)
    (feeds,) = scene.fed("tracker_step")  # frame 4 sees 0, and 1, 2, 3 with ranks 3, 2, 1
    assert sorted(feeds["memory_time"][feeds["memory_bias"] == 0].tolist()) == [0, 1, 2, 6]
    times = sorted((feeds["pointer_time"][feeds["pointer_bias"] == 0] * 15).round(4).tolist())
    assert times == [1, 2, 4]  # ranks 1 and 2; the oldest ranked frame gives none; the birth is 4 away
    scene.step()
    (feeds,) = scene.fed("tracker_step")  # frame 5 sees 0, and 1, 2, 4
    assert sorted(feeds["memory_time"][feeds["memory_bias"] == 0].tolist()) == [0, 1, 2, 6]
    assert [m.frame for m in scene.tracker.tracks[0].history.recent] == [1, 2, 4, 5]
    assert set(np.unique(feeds["memory_bias"]).tolist()) == {0.0, np.float32(MASKED)}


def test_memories_are_rounded_and_births_are_hard() -> None:
    scene = Scene([see((0.9, A))] * 2)
    scene.step(2)
    (feeds,) = scene.fed("tracker_step")
    birth = feeds["memory"][0, feeds["memory_time"][0].argmax()]
    assert birth[0, 1] == 1 and birth[0, 3] == np.float32(0.333984375)  # 1/3 in bfloat16


def test_there_is_a_cap_and_the_best_come_first() -> None:
    scene = Scene([see((0.6, A), (0.8, B), (0.9, C)), see((0.9, A))], settings=Settings(max_objects=2))
    result = scene.step()
    np.testing.assert_allclose(result.scores, [0.9, 0.8], atol=1e-6)
    assert scene.events("dropped") == [(0, -1, (0,))]
    assert len(scene.step()) == 2 and scene.events("dropped")[1:] == [(1, -1, (0,))]


def test_batches_of_any_size_give_the_same() -> None:
    moments = [see((0.9, A), (0.9, B), (0.9, C))] * 5
    one, all_ = Scene(moments, settings=Settings(batch=1)), Scene(moments, settings=Settings(batch=0))
    for _ in moments:
        a, b = one.step(), all_.step()
        np.testing.assert_array_equal(a.masks, b.masks)
    assert len(one.fed("tracker_step")) == 3 and len(all_.fed("tracker_step")) == 1


def test_rows_stay_compact_when_objects_go() -> None:
    # B, in the middle row, is retracted; C moves to its row and keeps its identity and memories.
    scene = Scene([see((0.9, A), (0.9, B), (0.9, C)), *[see((0.9, A), (0.9, C))] * 10])
    result = scene.step(11)
    assert result.ids.tolist() == [0, 2] and [t.row for t in scene.tracker.tracks] == [0, 1]
    np.testing.assert_array_equal(result.masks[1], enlarge(C[None], 64, 96)[0])


def test_offline_takes_nothing_back() -> None:
    moments = [see((0.9, A), (0.9, B)), *[see((0.9, A))] * 20]
    live = Scene(moments)
    live.step(21)
    later = Delayed(Scene(moments).tracker)
    told = [later.step(PIXELS) for _ in moments]
    assert [result.index for result in told if result] == list(range(7))  # 14 frames late
    results = [result for result in told if result] + later.finish()
    assert [result.index for result in results] == list(range(21))
    assert all(result.ids.tolist() == [0] for result in results)
    assert not [e for result in results for e in result.events if e.id == 1 or e.kind == "retraction"]
    assert live.results[3].ids.tolist() == [0, 1] and ("retraction", 1) in kinds(live.results[8])
    for a, b in zip(live.results[9:], results[9:], strict=True):
        np.testing.assert_array_equal(a.masks, b.masks)


def test_boxes_speak_for_the_frame_they_were_drawn_on() -> None:
    boxed = Concept(None, (Box(0, 0, 20, 20),))
    moments = [Moment((((0.9, A),),)), *[Moment(())] * 12]
    scene = Scene(moments, concepts=(boxed,))
    assert scene.step(13).ids.tolist() == [0]  # no detector, so nothing is unmatched, and nothing is removed
    assert not scene.fed("detector") and not scene.events("unmatched")
    carried = Scene([see((0.9, A))] * 3, concepts=(boxed,), settings=Settings(carry_boxes=True))
    carried.step(3)
    assert len(carried.fed("detector")) == 1


def test_without_a_tracker_a_model_is_refused() -> None:
    scene = Scene([])
    with pytest.raises(UsageError, match="no tracker"):
        Tracker(scene.session, replace(CONFIG, memory_layers=0), scene.tracker.phrases)
