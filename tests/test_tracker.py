"""The video loop on scripted answers, rule by rule, against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import NOTHING, SIDE, A, B, C, Moment, Scene, block, disc, see

from sam3_edge.loop.settings import Settings
from sam3_edge.resize import enlarge


def test_on_a_first_frame_every_detection_is_an_object_and_later_only_sure_ones() -> None:
    scene = Scene([see((0.9, A), (0.55, B)), see((0.9, A), (0.9, B), (0.69, C)), see((0.71, C))])
    assert scene.step().ids.tolist() == [0, 1]
    assert scene.step().ids.tolist() == [0, 1]
    result = scene.step()
    assert result.ids.tolist() == [0, 1, 2]
    np.testing.assert_allclose(result.scores, [0.9, 0.55, 0.71], atol=1e-6)
    assert scene.events("birth") == [(0, 0, (0,)), (0, 1, (1,)), (2, 2, (0,))]
    assert scene.events("match")[:2] == [(1, 0, (0,)), (1, 1, (1,))]


def test_ids_follow_the_order_of_queries_not_of_scores() -> None:
    result = Scene([see((0.6, A), (0.9, B))]).step()
    np.testing.assert_allclose(result.scores, [0.6, 0.9], atol=1e-6)


def test_of_detections_that_overlap_the_best_stays() -> None:
    scene = Scene([see((0.8, A), (0.9, disc(7, 6)), (0.7, B))])
    result = scene.step()
    np.testing.assert_allclose(result.scores, [0.9, 0.7], atol=1e-6)
    assert scene.events("nms") == [(0, -1, (0,))]


def test_a_score_at_the_threshold_is_too_low() -> None:
    assert len(Scene([see((0.5, A))]).step()) == 0


def test_masks_boxes_and_presence_of_a_result() -> None:
    scene = Scene([see((0.9, A)), see((0.9, A), scores={0: 2.0})])
    first, second = scene.step(), scene.step()
    want = enlarge(A[None], 64, 96)
    np.testing.assert_array_equal(second.masks, want)
    rows, columns = np.nonzero(want[0])
    edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert second.boxes.tolist() == [[float(edge) for edge in edges]]
    np.testing.assert_allclose(first.presence, [0.9], atol=1e-6)
    np.testing.assert_allclose(second.presence, [1 / (1 + np.exp(-2))], rtol=1e-6)
    assert second.concepts == ("cat",) and second.masks.dtype == np.bool_


def test_unmatched_eight_times_within_hot_start_means_never_there() -> None:
    scene = Scene([see((0.9, A), (0.9, B)), *[see((0.9, A))] * 9])
    assert scene.step(8).ids.tolist() == [0, 1]  # frames 1 to 7 without a detection: seven times
    assert scene.step().ids.tolist() == [0]
    assert scene.events("retraction") == [(8, 1, ())]
    assert [t.id for t in scene.tracker.tracks] == [0] and scene.tracker.roster.bank.rows == 1


def test_unmatched_after_hot_start_stays() -> None:
    both, one = see((0.9, A), (0.9, B)), see((0.9, A))
    scene = Scene([*[both] * 8, *[one] * 12])  # unmatched from frame 8 on: the eighth time is frame 15
    assert scene.step(20).ids.tolist() == [0, 1] and not scene.events("retraction")
    late = Scene([*[both] * 7, *[one] * 12])  # the eighth time is frame 14: 0 > 14 - 15
    late.step(15)
    assert late.events("retraction") == [(14, 1, ())]


def test_an_empty_track_is_not_unmatched() -> None:
    gone = see((0.9, A), tracked={1: NOTHING}, scores={1: -5.0})
    scene = Scene([see((0.9, A), (0.9, B)), *[gone] * 14])
    assert scene.step(15).ids.tolist() == [0]
    assert not scene.events("retraction") and len(scene.events("empty")) == 14
    assert [t.id for t in scene.tracker.tracks] == [0, 1]


def test_a_younger_track_on_the_same_detections_is_a_duplicate() -> None:
    twin = see((0.9, A), tracked={1: A})
    scene = Scene([see((0.9, A)), see((0.9, A), (0.9, B)), *[twin] * 8], settings=Settings(occlusion=0))
    assert scene.step(9).ids.tolist() == [0, 1]  # shared on frames 2 to 8: seven times
    assert scene.step().ids.tolist() == [0]
    assert scene.events("retraction") == [(9, 1, (0,))]


def test_hot_start_of_zero_removes_nothing() -> None:
    scene = Scene([see((0.9, A), (0.9, B)), *[see((0.9, A))] * 12], settings=Settings(hot_start=0))
    assert scene.step(13).ids.tolist() == [0, 1]


def test_long_unmatched_objects_are_hidden_if_asked() -> None:
    settings = Settings(hide_unmatched=True, keep_alive=10, hot_start=0)
    scene = Scene(
        [see((0.9, A), (0.9, B)), *[see((0.9, A))] * 10, see((0.9, A), (0.9, B))], settings=settings
    )
    assert scene.step(10).ids.tolist() == [0, 1]
    assert scene.step().ids.tolist() == [0] and scene.events("hidden") == [(10, 1, ())]
    assert scene.step().ids.tolist() == [0, 1]


def test_reconditioning_takes_the_sure_detection_every_sixteenth_frame() -> None:
    scene = Scene([*[see((0.9, A), (0.75, B))] * 18])
    scene.step(16)
    assert not scene.events("recondition")
    before = [m.frame for m in scene.tracker.tracks[0].history.conditioning]
    scene.step()
    assert scene.events("recondition") == [(16, 0, (0,))]  # B's detection scores below 0.8
    assert before == [0] and [m.frame for m in scene.tracker.tracks[0].history.conditioning] == [0, 16]
    assert 16 not in [m.frame for m in scene.tracker.tracks[0].history.recent]
    (feeds,) = scene.fed("memorize")
    assert feeds["hard"].tolist() == [0, 0]  # remembered as tracked, softly; only the pointer is anew


@pytest.mark.parametrize(
    ("score", "mask", "logit", "times"),
    [(0.81, A, 0.81, 1), (0.79, A, 5, 0), (0.9, disc(7, 6), 5, 0), (0.9, A, 0.79, 0)],
)
def test_reconditioning_wants_score_overlap_and_logit(
    score: float, mask: np.ndarray, logit: float, times: int
) -> None:
    scene = Scene(
        [see((0.9, A)), see((score, mask), scores={0: logit})], settings=Settings(recondition_every=1)
    )
    scene.step(2)
    assert len(scene.events("recondition")) == times


def test_four_conditioning_frames_at_most() -> None:
    scene = Scene([see((0.9, A))] * 7, settings=Settings(recondition_every=1))
    scene.step(7)
    assert [m.frame for m in scene.tracker.tracks[0].history.conditioning] == [3, 4, 5, 6]


def test_of_two_that_overlap_the_one_that_was_hidden_later_gives_way() -> None:
    settings = Settings(recondition_every=0)
    apart, hide_a = see((0.9, A), (0.9, B)), see((0.9, B), tracked={0: NOTHING})
    hide_b, same = see((0.9, A), tracked={1: NOTHING}), see((0.9, A), tracked={1: A})
    scene = Scene([apart, hide_a, hide_b, same, same], settings=settings)
    assert scene.step(4).ids.tolist() == [0]
    assert scene.events("suppression") == [(3, 1, (0,))]
    (feeds,) = scene.fed("memorize")
    assert feeds["present"].tolist() == [1, 0]
    np.testing.assert_array_equal(feeds["mask"][1, 0], np.full((SIDE, SIDE), -10, np.float32))
    assert [track.last_hidden for track in scene.tracker.tracks] == [1, 3]
    never = Scene([apart, hide_b, same], settings=settings)
    never.step(3)
    assert not never.events("suppression")  # the other was never hidden


def test_who_keeps_too_little_is_remembered_as_empty_and_shown_all_the_same() -> None:
    small, large = block(10, 10, 14, 14, value=2), block(4, 4, 24, 24, value=9)
    scene = Scene([see((0.9, A), (0.9, B)), see(tracked={0: small, 1: large})])
    result = scene.step(2)
    assert scene.events("shrink") == [(1, 0, ())]
    (feeds,) = scene.fed("memorize")
    assert feeds["present"].tolist() == [0, 1] and feeds["mask"][0].max() == -10
    assert result.ids.tolist() == [0, 1]


def test_overlapping_results_go_to_the_surer_object_within_a_concept_only() -> None:
    left, right = block(4, 4, 16, 16), block(10, 4, 22, 16)
    moment = see(tracked={0: left, 1: right}, scores={0: 1.0, 1: 3.0})
    result = Scene([see((0.9, A), (0.9, B)), moment]).step(2)
    whole = enlarge(np.stack([left, right]), 64, 96)
    np.testing.assert_array_equal(result.masks[1], whole[1])
    np.testing.assert_array_equal(result.masks[0], whole[0] & ~whole[1])
    assert result.boxes[0].tolist() == [12, 8, 48, 32]  # of the whole mask
    two = Moment((((0.9, A),), ((0.9, B),)))
    both = Moment(((), ()), tracked={0: left, 1: right}, scores={0: 1.0, 1: 3.0})
    result = Scene([two, both], concepts=("cat", "dog")).step(2)
    np.testing.assert_array_equal(result.masks, whole)
    assert result.concepts == ("cat", "dog")


def test_holes_and_sprinkles_go_and_are_told() -> None:
    rough = block(4, 4, 20, 20)
    rough[8:12, 8:12] = -8  # 16 pixels
    rough[28, 28] = 8
    scene = Scene([see((0.9, A)), see((0.9, A), tracked={0: rough})])
    result = scene.step(2)
    clean = block(4, 4, 20, 20)
    clean[8:12, 8:12] = np.float32(0.1)
    clean[28, 28] = np.float32(-0.1)
    np.testing.assert_array_equal(result.masks, enlarge(clean[None], 64, 96))
    assert scene.events("hole") == [(1, 0, ())]
    np.testing.assert_array_equal(scene.fed("memorize")[0]["mask"][0, 0], clean)


def test_concepts_do_not_touch_each_other() -> None:
    # The dog's detection lies on the cat, and is an object all the same.
    moments = [Moment((((0.9, A),), ())), *[Moment((((0.9, A),), ((0.9, A),)), tracked={0: A})] * 12]
    scene = Scene(moments, concepts=("cat", "dog"))
    assert scene.step(13).concepts == ("cat", "dog")
    assert not scene.events("retraction") and not scene.events("suppression")
