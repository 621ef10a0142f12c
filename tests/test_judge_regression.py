"""No regression: what a reference got right, another result must still get right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from clip_drawing import Bits, clip_of, squares
from oracles.official_hota import clips

from sam3_edge.judge.case import Clip, ClipCase, Masks, PictureAnswer, PictureCase
from sam3_edge.judge.regression import Held, clip_agrees, clip_holds, picture_agrees, picture_holds


def test_regression_without_truth() -> None:
    reference = squares("aaaa", "cc.c")
    assert clip_agrees(reference, reference) == Held(7, 7)
    assert clip_agrees(reference, squares("cccc", "aaaa")) == Held(7, 7)  # other numbers, same identities
    assert clip_agrees(reference, squares("aaac", "cc.a")) == Held(5, 7)  # swapped in the last frame
    assert clip_agrees(reference, squares("aaab", "c...")) == Held(4, 7)
    assert clip_agrees(reference, squares("aaaa", "cc.c", "dddd")) == Held(7, 7)
    assert clip_agrees(reference, Clip((12, 48), 4, {})).share == 0
    assert Held.of([Held(1, 2), Held(3, 4)]) == Held(4, 6)
    assert Held.of([]).share is None


def test_regression_against_the_truth_as_the_reference_is_agreement() -> None:
    for drawn in clips():
        truth, answer = clip_of(drawn.truth), clip_of(drawn.answer, first=9)
        agreed = clip_agrees(truth, answer)
        assert clip_holds(ClipCase("", truth), truth, answer) == agreed
        assert agreed.total == drawn.truth.any((2, 3)).sum()


def test_only_what_the_reference_had_can_be_lost() -> None:
    case = ClipCase("", squares("aaaa", "cccc"))
    reference = squares("aaab", "....", "dddd")  # has object 1 in three frames, and never object 2
    assert clip_holds(case, reference, squares("aaaa", "cccc")) == Held(3, 3)
    assert clip_holds(case, reference, squares("aa.a", "dddd")) == Held(2, 3)
    assert clip_holds(case, reference, squares("abbb", "baaa")) == Held(2, 3)


def strip(pixels: int) -> Bits:
    """A mask of one row: IoU with the full row of 100 is pixels / 100."""
    return np.arange(100)[None] < pixels


@pytest.mark.parametrize(
    ("before", "after", "holds"), [(80, 79, 1), (10, 9, 1), (80, 78, 0), (80, 90, 1), (100, 99, 1)]
)
def test_regression_allows_a_hundredth(before: int, after: int, holds: int) -> None:
    truth, was, now = (strip(pixels)[None, None] for pixels in (100, before, after))
    assert clip_holds(ClipCase("", clip_of(truth)), clip_of(was), clip_of(now)) == Held(holds, 1)
    pictures = [PictureAnswer(Masks.of(masks[0]), (1.0,)) for masks in (was, now)]
    assert picture_holds(PictureCase("", (Masks.of(truth[0]),)), *pictures) == Held(holds, 1)
    assert picture_agrees(*pictures) == Held(int(min(before, after) / max(before, after) >= 0.99), 1)


def test_regression_of_pictures() -> None:
    frames = {name: squares(*places).at(0)[1] for name, places in {"ac": "ac", "a": "a", "bd": "bd"}.items()}
    answers = {name: PictureAnswer(masks, (1.0,) * len(masks)) for name, masks in frames.items()}
    nothing = PictureAnswer(Masks((12, 48)))
    assert picture_agrees(answers["ac"], answers["a"]) == Held(1, 2)
    # The reference agrees with the second annotator, so that one decides.
    case = PictureCase("", (frames["bd"], frames["ac"]))
    assert picture_holds(case, answers["ac"], answers["a"]) == Held(1, 2)
    assert picture_holds(case, answers["a"], answers["bd"]) == Held(0, 1)
    assert picture_holds(replace(case, truths=(Masks((12, 48)),)), answers["ac"], nothing).share is None
