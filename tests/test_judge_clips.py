"""Metrics on clips: against their definitions, and against what Meta's official evaluator answered."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from clip_drawing import Bits, clip_of, squares
from numpy.typing import NDArray
from oracles.official_hota import COUNTS, FOLDER, MEANS, Drawn, clips, digest

from sam3_edge.errors import SourceError
from sam3_edge.judge.boundary import boundary_f, tolerance
from sam3_edge.judge.case import Clip, ClipCase
from sam3_edge.judge.hota import Counts, Hota, tally
from sam3_edge.judge.region import ClipScore, JAndF, ObjectScore, j_and_f
from sam3_edge.judge.regression import clip_agrees

DRAWN = clips()
OURS = ("hota", "det_a", "ass_a", "loc_a", "det_recall", "det_precision", "ass_recall", "ass_precision")


def slow_j(a: Bits, b: Bits) -> float:
    return float((a & b).sum() / (a | b).sum()) if (a | b).any() else 1.0


def slow_outline(mask: Bits) -> NDArray[np.intp]:
    """The pixels [K, 2] unlike an existing neighbour on the right, below or both."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return np.argwhere((mask != padded[:-1, 1:]) | (mask != padded[1:, :-1]) | (mask != padded[1:, 1:]))


def slow_f(a: Bits, b: Bits) -> float:
    p, q = slow_outline(a), slow_outline(b)
    if not len(p) or not len(q):
        return float(len(p) == len(q))
    near = ((p[:, None] - q) ** 2).sum(-1) <= math.ceil(0.008 * math.hypot(*a.shape)) ** 2
    recall, precision = near.any(1).mean(), near.any(0).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def random_pair(random: np.random.RandomState) -> tuple[Bits, Bits]:
    """Two masks: noise, shapes, full, empty, far apart or alike; some in a long picture (radius 3 to 5)."""
    size = (random.randint(1, 30), random.randint(300, 600) if random.rand() < 0.3 else random.randint(1, 40))

    def blob() -> Bits:
        y, x = np.mgrid[: size[0], : size[1]]
        centre, axes = random.rand(2) * size, 0.5 + random.rand(2) * size / 2
        return np.asarray(((y - centre[0]) / axes[0]) ** 2 + ((x - centre[1]) / axes[1]) ** 2 < 1)

    masks = [blob(), blob(), blob(), random.rand(*size) < 0.03, np.zeros(size, bool), np.ones(size, bool)]
    a, b = (masks[random.randint(len(masks))] for _ in range(2))
    return a, np.roll(a, random.randint(-4, 5, 2).tolist(), (0, 1)) if random.rand() < 0.4 else b


def test_boundary_f_is_its_definition() -> None:
    random = np.random.RandomState(5)
    pairs = [random_pair(random) for _ in range(600)]
    scores = [boundary_f(a, b) for a, b in pairs]
    assert scores == pytest.approx([slow_f(a, b) for a, b in pairs], abs=1e-12)
    assert sum(0 < score < 1 for score in scores) > 150
    assert {0.0, 1.0} < set(scores)
    assert max(tolerance(a.shape) for a, _ in pairs) == 5


def test_tolerance_is_the_official_pixel_count() -> None:
    sizes = {(480, 854): 8, (224, 224): 3, (1080, 1920): 18, (300, 400): 4, (10, 10): 1}
    assert {size: tolerance(size) for size in sizes} == sizes


@pytest.mark.parametrize("skip_ends", [False, True])
@pytest.mark.parametrize("from_first", [False, True])
def test_j_and_f_with_given_identities_is_its_definition(skip_ends: bool, from_first: bool) -> None:
    for drawn in DRAWN:
        given = j_and_f(
            clip_of(drawn.truth),
            clip_of(drawn.answer),
            same_ids=True,
            skip_ends=skip_ends,
            from_first=from_first,
        )
        cut = slice(1, -1) if skip_ends else slice(None)
        expected = []
        for i, track in enumerate(drawn.truth[:, cut]):
            other = drawn.answer[i, cut] if i < len(drawn.answer) else np.zeros_like(track)
            if track.any():
                first = int((track | other).any((1, 2)).argmax()) if from_first else 0
                pairs = list(zip(track[first:], other[first:], strict=True))
                j, f = (float(np.mean([score(*pair) for pair in pairs])) for score in (slow_j, slow_f))
                expected.append((i, j, f))
        assert [o.identity for o in given.objects] == [i for i, *_ in expected]
        assert [v for o in given.objects for v in (o.j, o.f)] == pytest.approx(
            [v for _, j, f in expected for v in (j, f)], abs=1e-12
        )


def test_pairing_finds_the_largest_total_j() -> None:
    for drawn in DRAWN:
        given = j_and_f(
            clip_of(drawn.truth), clip_of(drawn.answer, first=70), same_ids=False, skip_ends=False
        )
        truth, answer = (masks[masks.any((1, 2, 3))] for masks in (drawn.truth, drawn.answer))
        total = np.array([[total_j(a, b) for b in answer] for a in truth]).reshape(len(truth), len(answer))
        wide = total if len(truth) <= len(answer) else total.T
        ways = np.array(list(itertools.permutations(range(wide.shape[1]), len(wide))), int)
        best = wide[np.arange(len(wide)), ways].sum(1).max() if wide.size else 0
        frames = drawn.truth.shape[1]
        assert sum(o.j for o in given.objects) * frames == pytest.approx(best, abs=1e-9)
        for o in given.objects:
            if o.partner is None:
                assert (o.j, o.f) == (0, 0)
                continue
            pairs = list(zip(drawn.truth[o.identity], drawn.answer[o.partner - 70], strict=True))
            assert o.f == pytest.approx(np.mean([slow_f(*pair) for pair in pairs]), abs=1e-12)
        assert given.extra == len(answer) - sum(o.partner is not None for o in given.objects)


def total_j(a: Bits, b: Bits) -> float:
    """J over the clip; nothing for two masklets that never meet."""
    return sum(map(slow_j, a, b)) if (a & b).any() else 0.0


def test_every_object_of_all_clips_counts_once() -> None:
    two = ClipScore((ObjectScore(1, 1, 1.0, 0.8), ObjectScore(2, None, 0.0, 0.0)), extra=1)
    one = ClipScore((ObjectScore(1, 4, 0.5, 0.4),), extra=2)
    means = JAndF.of([two, one, ClipScore((), extra=1)])
    assert (means.j, means.f, means.j_and_f) == pytest.approx((0.5, 0.4, 0.45))
    assert (means.objects, means.extra) == (3, 4)
    assert JAndF.of([ClipScore((), extra=1)]) == JAndF(None, None, None, 0, 1)


def counts_of(drawn: Drawn) -> Counts:
    case = ClipCase(drawn.kind, clip_of(drawn.truth))
    return tally(case, clip_of(drawn.answer, drawn.scores, first=9).above(0.5))


def test_hota_equals_the_official_evaluator() -> None:
    recorded = json.loads((FOLDER / "hota.json").read_text())
    assert digest(DRAWN) == recorded["digest"]
    assert len(DRAWN) >= 200
    counts = [counts_of(drawn) for drawn in DRAWN]
    with np.load(FOLDER / "hota.npz", allow_pickle=False) as official:
        for name, ours in zip(COUNTS, ("hits", "misses", "extras"), strict=True):
            np.testing.assert_array_equal([getattr(c, ours) for c in counts], official[name])
        for name, ours in zip(MEANS, OURS, strict=True):
            scores = [getattr(Hota.of([c]), ours) for c in counts]
            np.testing.assert_allclose(scores, official[name], rtol=0, atol=1e-9, err_msg=name)
    together = Hota.of(counts)
    for name, ours in zip(MEANS, OURS, strict=True):
        assert getattr(together, ours) == pytest.approx(recorded["together"][name], abs=1e-9)
    assert Hota.of([Counts.total(counts)]) == together


def slow_clear(truth: Bits, answer: Bits) -> tuple[int, int, int, int]:
    """Hits, misses, extras and switches by trying every matching of every frame."""
    last: dict[int, int] = {}
    before: dict[int, int] = {}
    totals = np.zeros(4, int)
    for frame in range(truth.shape[1]):
        rows, columns = ([i for i, track in enumerate(m) if track[frame].any()] for m in (truth, answer))
        pairs: dict[int, int] = {}
        if rows and columns:
            iou = {(i, j): slow_j(truth[i, frame], answer[j, frame]) for i in rows for j in columns}
            good = {(i, j): v + 1000 * (before.get(i) == j) for (i, j), v in iou.items() if v >= 0.5}
            pairs = before = best_matching(rows, good)[1]
            totals[3] += sum(last.get(i, j) != j for i, j in pairs.items())
            last |= pairs
        totals[:3] += len(pairs), len(rows) - len(pairs), len(columns) - len(pairs)
    hits, misses, extras, switches = totals.tolist()
    return hits, misses, extras, switches


def best_matching(rows: list[int], good: dict[tuple[int, int], float]) -> tuple[float, dict[int, int]]:
    if not rows:
        return 0.0, {}
    first, *others = rows
    best = best_matching(others, good)
    for (i, j), value in good.items():
        if i == first:
            rest, pairs = best_matching(others, {ij: v for ij, v in good.items() if ij[1] != j})
            best = max(best, (value + rest, {i: j} | pairs), key=lambda found: found[0])
    return best


def test_clear_is_its_definition() -> None:
    switches = 0
    for drawn in DRAWN:
        kept = drawn.answer[np.array(drawn.scores, float) > 0.5]
        c = counts_of(drawn)
        ours = [int(v[0]) for v in (c.clear_hits, c.clear_misses, c.clear_extras, c.switches)]
        assert tuple(ours) == slow_clear(drawn.truth, kept)
        switches += ours[3]
    assert switches > 50


def test_two_identities_that_swap() -> None:
    scores = Hota.of([tally(ClipCase("", squares("aaaa", "cccc")), squares("aacc", "ccaa"))])
    assert (scores.switches, scores.mota, scores.det_a, scores.loc_a) == (2, 0.75, 1, 1)
    assert scores.ass_a == pytest.approx(1 / 3)  # each pair shares 2 frames of 6
    assert scores.hota == pytest.approx(math.sqrt(1 / 3))
    # Returning under the old identity after being lost is no switch; under a new one it is.
    truth = ClipCase("", squares("aaaa"))
    assert Hota.of([tally(truth, squares("a..a"))]).switches == 0
    assert Hota.of([tally(truth, squares("a...", "...a"))]).switches == 1


def test_a_frame_without_answers_does_not_break_a_match() -> None:
    def track(*pixels: int) -> Bits:
        return np.array([np.arange(100)[None] < n for n in pixels])

    # The first identity still has IoU 0.6 when a better one comes: it keeps the object.
    answers = np.array([track(100, 0, 60), track(0, 0, 100)])
    case = ClipCase("", clip_of(track(100, 100, 100)[None]))
    assert tally(case, clip_of(answers)).switches == [0]


def test_nothing_to_score() -> None:
    empty = Clip((12, 48), 4, {})
    assert Hota.of([]) == Hota.of([tally(ClipCase("", empty), empty)])
    assert (Hota.of([]).hota, Hota.of([]).loc_a, Hota.of([]).switches) == (0, 1, 0)


def test_an_answer_that_does_not_fit_is_refused() -> None:
    truth = squares("aaaa")
    for other in (squares("aaa"), Clip((48, 12), 4, {}), Clip((12, 48), 4, {1: (None,)})):
        with pytest.raises(SourceError, match="frame"):
            j_and_f(truth, other, same_ids=True, skip_ends=False)
        with pytest.raises(SourceError, match="frame"):
            tally(ClipCase("", truth), other)
        with pytest.raises(SourceError, match="frame"):
            clip_agrees(truth, other)
