"""Overlaps, association, hot-start counters and the shrink test, on masks counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import f32

from sam3_edge.loop import components
from sam3_edge.loop.association import Association, associate, room
from sam3_edge.loop.history import History
from sam3_edge.loop.lifecycle import count, doubtful, give_way
from sam3_edge.loop.regions import FINE, crowded, overlap, specks, survivors, tidy
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.track import Track
from sam3_edge.resize import line, upsample
from sam3_edge.spec import ModelConfig

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
SIDE = 16
RANDOM = np.random.default_rng(3)


def bar(start: int, stop: int) -> Bools:
    """Columns start to stop of a mask: IoUs of bars are fractions of their widths."""
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[:, start:stop] = True
    return mask


def pair(scores: list[float], detections: list[Bools], tracks: list[Bools], **settings: float) -> Association:
    none = np.zeros((0, SIDE, SIDE), np.bool_)
    masks = [np.stack(x) if x else none for x in (detections, tracks)]
    return associate(np.array(scores, np.float32), masks[0], masks[1], Settings(**settings))  # type: ignore[arg-type]


def track(id: int, *, born: int = 0, last_hidden: int | None = None) -> Track:
    return Track(id, id, "cat", born, 0.9, History(ModelConfig()), 30, last_hidden=last_hidden)


def test_overlaps_are_fractions_and_zero_for_nothing() -> None:
    a, none = np.stack([bar(0, 4), bar(0, 8)]), np.zeros((1, SIDE, SIDE), np.bool_)
    np.testing.assert_array_equal(overlap(a, np.stack([bar(2, 6)])), f32([[2 / 6], [4 / 8]]))
    assert overlap(none, none).tolist() == [[0]] and overlap(a, none[:0]).shape == (2, 0)


def test_without_tracks_every_detection_is_new() -> None:
    assert pair([0.51, 0.9], [bar(0, 4), bar(0, 4)], []) == Association(new=(0, 1))


def test_without_detections_tracks_are_unmatched_or_empty() -> None:
    assert pair([], [], [bar(0, 4), bar(0, 0)]) == Association(unmatched=(0,), empty=(1,))


def test_between_match_and_cover_a_track_is_matched_and_unmatched_at_once() -> None:
    found = pair([0.9, 0.9], [bar(0, 4), bar(10, 14)], [bar(2, 6), bar(10, 14)])  # IoU 1/3 and 1
    assert found.matched == {0: (0,), 1: (1,)} and found.unmatched == (0,) and not found.new
    assert found.sure == {1: 1} and found.detections(1) == (1,)


@pytest.mark.parametrize(("score", "new"), [(0.7, (0,)), (0.69, ())])
def test_a_new_detection_beside_tracks_must_be_sure(score: float, new: tuple[int, ...]) -> None:
    assert pair([score], [bar(0, 4)], [bar(8, 12)]).new == new


def test_overlaps_are_those_of_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that no word divides, with numpy 2's way to count bits and without."""
    rng = np.random.default_rng(4)
    for height, width in ((1, 1), (7, 9), (33, 31), (64, 64)):
        a, b = (rng.random((count, height, width)) < 0.3 for count in (5, 3))
        both = (a[:, None] & b[None]).sum((2, 3)), (a[:, None] | b[None]).sum((2, 3))
        wanted = (both[0] / np.maximum(both[1], 1)).astype(np.float32)
        np.testing.assert_allclose(overlap(a, b), wanted, rtol=1e-6)
        with monkeypatch.context() as without:
            without.delattr(np, "bitwise_count", raising=False)
            np.testing.assert_allclose(overlap(a, b), wanted, rtol=1e-6)


def test_an_overlap_at_the_threshold_counts() -> None:
    # 1 of 10 columns in common: float32 of 0.1, on both sides.
    assert pair([0.9], [bar(0, 5)], [bar(4, 10)]).matched == {0: (0,)}
    assert pair([0.9], [bar(0, 5)], [bar(4, 11)]).new == (0,)
    assert pair([0.9], [bar(0, 4)], [bar(0, 8)]).unmatched == ()


def test_one_detection_may_match_several_tracks_and_the_last_sure_one_counts() -> None:
    found = pair([0.9, 0.85], [bar(0, 5), bar(0, 6)], [bar(0, 5), bar(1, 5)])
    assert found.matched == {0: (0, 1), 1: (0, 1)}
    assert found.sure == {0: 1}  # both are nearest to track 0


def test_room_is_for_the_best_and_in_their_order_of_scores() -> None:
    scores = np.array([0.7, 0.9, 0.8, 0.95], np.float32)
    assert room((0, 1, 2), scores, free=3) == (0, 1, 2)
    assert room((0, 1, 2), scores, free=2) == (1, 2)
    assert room((0, 1, 2), scores, free=-1) == ()


def test_survivors_are_judged_from_the_best_down() -> None:
    masks = np.stack([bar(0, 4), bar(3, 7), bar(6, 10)])  # neighbours share 1 of 7
    assert survivors(f32([0.9, 0.8, 0.7]), masks, 0.1).tolist() == [0, 2]
    assert survivors(f32([0.7, 0.9, 0.8]), masks, 0.1).tolist() == [1]
    assert survivors(f32([0.7, 0.9, 0.8]), masks, 0.2).tolist() == [0, 1, 2]


def test_counters() -> None:
    tracks, settings = [track(0), track(1, born=3)], Settings()
    count(tracks, Association(matched={0: (0, 1), 1: (0, 1)}, unmatched=(1,)), 5, settings)
    assert [t.keep_alive for t in tracks] == [30, 29]  # +1 up to 30, then -1 for the unmatched
    assert [t.unmatched for t in tracks] == [0, 1] and tracks[1].overlaps == {0: 2}
    count(tracks, Association(matched={0: (0, 1)}), 18, settings)
    assert not tracks[1].overlaps  # 3 is not after 18 - 15: nobody asks any more


def test_doubts() -> None:
    tracks = [track(0), track(1, born=1), track(2, born=1), track(3, born=1)]
    tracks[0].unmatched = tracks[1].unmatched = 8
    tracks[2].overlaps, tracks[3].overlaps = {1: 7, 0: 8}, {0: 7}
    assert doubtful(tracks, 15, Settings()) == {1: None, 2: 0}
    tracks[2].pinned = True
    assert doubtful(tracks, 14, Settings()) == {0: None, 1: None}


def test_an_object_that_goes_on_its_first_frame_gives_way() -> None:
    tracks, shown = [track(0, last_hidden=2), track(1)], np.stack([bar(0, 4), bar(0, 4)])
    assert give_way(tracks, shown, 9, gone=[1], settings=Settings()) == {1: (0,)}
    tracks = [track(0, last_hidden=2), track(1)]
    assert give_way(tracks, shown, 9, gone=[], settings=Settings()) == {}
    assert [t.last_hidden for t in tracks] == [2, -1]


def test_specks_are_the_small_components() -> None:
    noise = RANDOM.random((6, 40, 33)) > 0.85
    masks = np.concatenate((noise, ~noise))
    for most in (1, 4, 16):
        for mask, got in zip(masks, np.asarray(specks(masks, np.full(12, most))), strict=True):
            labels, areas = components.label(mask)
            np.testing.assert_array_equal(got, np.append(False, areas <= most)[labels])
    assert specks(np.ones((2, 5, 5), np.bool_), np.full(2, 24)) is None


def test_tidy_fills_holes_first_and_spares_what_is_all_there_is() -> None:
    logits = np.full((3, SIDE, SIDE), -3, np.float32)
    logits[0, 2:10, 2:10] = 3
    logits[0, 4:8, 4:8] = -3  # 16 pixels: a hole
    logits[0, 12:16, 12:16] = 3  # 16 pixels beside 64: a sprinkle
    logits[1, 5:8, 5:8] = 3  # 9 pixels are the whole object
    got, changed = tidy(logits, 16)
    want = logits.copy()
    want[0, 4:8, 4:8], want[0, 12:16, 12:16] = np.float32(0.1), np.float32(-0.1)
    np.testing.assert_array_equal(got, want)
    assert changed.tolist() == [True, False, False] and logits[0, 5, 5] == -3
    assert tidy(logits, 0)[0] is logits


def slow_crowded(logits: Floats, least: float) -> tuple[Bools, Bools]:
    """Everything at four times the size, as the reference counts it."""
    axis = line(SIDE, FINE * SIDE)
    fine = np.stack([upsample(m, axis, axis, rows=np.s_[:], columns=np.s_[:]) for m in logits])
    before = (fine > 0).sum((1, 2))
    own = fine.argmax(0)[None] == np.arange(len(logits))[:, None, None]
    after = ((fine > 0) & own).sum((1, 2))
    ratio = after.astype(np.float32) / np.maximum(before, 1).astype(np.float32)
    return np.asarray(ratio < np.float32(least)), np.asarray(before > 0)


def test_the_shrink_test_counts_only_where_it_must() -> None:
    for scale in (0.5, 2, 8):
        for _ in range(20):
            coarse = RANDOM.normal(size=(6, 4, 4)).astype(np.float32) * scale
            noise = RANDOM.normal(size=(6, SIDE, SIDE)).astype(np.float32)
            logits = coarse.repeat(4, 1).repeat(4, 2) + noise
            logits[0], logits[1] = -5, logits[2]  # one is empty; of equals, the first has it
            logits[3] = np.where(
                np.arange(SIDE**2).reshape(SIDE, SIDE) == 40, 0.5, -8
            )  # vanishes when enlarged
            for got, want in zip(crowded(logits, 0.3), slow_crowded(logits, 0.3), strict=True):
                np.testing.assert_array_equal(got, want)
