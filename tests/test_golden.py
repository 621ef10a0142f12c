"""Golden answers: written, read back, replayed; and what agreement means, on cases made by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scripted import PICTURE, scripted
from tiny_bundle import MANIFEST, make, snapshot

from sam3_edge import Box, Bundle, Concept
from sam3_edge.agreement import Agreement, compare, overlaps, pair
from sam3_edge.doctor import check
from sam3_edge.errors import CheckError
from sam3_edge.golden import ANSWERS, Case, read_golden, replay, write_golden
from sam3_edge.segmentation import Segmentation
from sam3_edge.staging import seal

Masks = NDArray[np.bool_]


def strips(*rows: tuple[int, int]) -> Masks:
    """Masks [N, 10, 10] that cover these rows of the picture."""
    masks = np.zeros((len(rows), 10, 10), bool)
    for mask, (first, last) in zip(masks, rows, strict=True):
        mask[first:last] = True
    return masks


def answer(masks: Masks, scores: Sequence[float] = (), presence: float = 0.9) -> Segmentation:
    given = np.array(scores or [0.8] * len(masks), np.float32)
    return Segmentation(Concept("a"), masks, np.zeros((len(masks), 4), np.float32), given, presence)


def test_overlaps() -> None:
    a, b = strips((0, 4), (0, 0)), strips((0, 4), (2, 6), (0, 0))
    assert np.allclose(overlaps(a, b), np.array([[1, 1 / 3, 0], [0, 0, 1]]))
    assert overlaps(a[:0], b).shape == (0, 3) and overlaps(a, b[:0]).shape == (2, 0)


def test_pairs_take_the_best_first_and_each_once() -> None:
    iou = np.array([[0.6, 0.9, 0.0], [0.0, 0.8, 0.0], [0.0, 0.0, 0.49]])
    assert pair(iou) == [(0, 1)]  # row 1's only match is taken, row 2's is too little
    assert pair(np.array([[0.5]])) == [(0, 0)]
    assert pair(np.zeros((0, 3))) == [] and pair(np.zeros((2, 0))) == []
    assert np.array_equal(iou[0], [0.6, 0.9, 0.0])  # not changed


def test_the_same_answers_agree() -> None:
    given = [answer(strips((0, 4), (6, 9)), (0.9, 0.7)), answer(strips())]
    assert compare(given, given) == Agreement(2, 0, 0, 1.0, 1.0, 0, 0.0)


def test_order_does_not_matter() -> None:
    got = compare([answer(strips((0, 4), (6, 9)), (0.9, 0.7))], [answer(strips((6, 9), (0, 4)), (0.7, 0.9))])
    assert got == Agreement(2, 0, 0, 1.0, 1.0, 0, 0.0)


@pytest.mark.parametrize(
    ("want", "have", "numbers"),
    [
        # objects, missing, extra, mean IoU, least IoU, pixels
        ([], [], (0, 0, 0, None, None, 0)),
        ([(0, 4)], [], (1, 1, 0, None, None, 0)),
        ([], [(0, 4)], (0, 0, 1, None, None, 0)),
        ([(0, 4)], [(5, 9)], (1, 1, 1, None, None, 0)),
        ([(0, 4)], [(0, 5)], (1, 0, 0, 0.8, 0.8, 10)),
        ([(0, 4), (5, 9)], [(0, 4), (5, 10)], (2, 0, 0, 0.9, 0.8, 10)),
        ([(0, 4)], [(0, 4), (0, 4)], (1, 0, 1, 1.0, 1.0, 0)),
        ([(0, 4), (0, 4)], [(0, 4)], (2, 1, 0, 1.0, 1.0, 0)),
        ([(0, 0)], [(0, 0)], (1, 0, 0, 1.0, 1.0, 0)),
        ([(0, 0)], [(0, 4)], (1, 1, 1, None, None, 0)),
    ],
)
def test_agreement(
    want: list[tuple[int, int]],
    have: list[tuple[int, int]],
    numbers: tuple[int, int, int, float | None, float | None, int],
) -> None:
    got = compare([answer(strips(*want))], [answer(strips(*have))])
    expected = Agreement(*numbers, score=0.0)
    for name in ("objects", "missing", "extra", "pixels"):
        assert getattr(got, name) == getattr(expected, name), name
    for name in ("mean_iou", "min_iou"):
        assert getattr(got, name) == pytest.approx(getattr(expected, name)), name


def test_scores_and_presence_are_compared() -> None:
    same = strips((0, 4))
    assert compare([answer(same, (0.8,))], [answer(same, (0.7,))]).score == pytest.approx(0.1)
    assert compare([answer(same, presence=0.9)], [answer(same, presence=0.2)]).score == pytest.approx(0.7)
    assert compare([answer(strips(), presence=0.0)], [answer(strips(), presence=0.4)]).score == 0.4


def test_agreement_is_json() -> None:
    got = compare([answer(strips((0, 3)))], [answer(strips((0, 4)))]).to_json()
    assert json.loads(json.dumps(got)) == got and got["mean_iou"] == 0.75


def test_another_number_of_answers_is_a_bug() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compare([answer(strips())] * 2, [answer(strips())])


@pytest.mark.parametrize(
    ("got", "fine"),
    [
        (Agreement(3, 0, 0, 1.0, 1.0, 0, 0.0), True),
        (Agreement(3, 0, 0, 0.99, 0.98, 900, 0.0), True),
        (Agreement(3, 0, 0, 0.9, 0.7, 4, 0.0), True),  # four pixels of a small mask
        (Agreement(3, 0, 0, 0.99, 0.97, 5, 0.0), False),
        (Agreement(3, 1, 0, 1.0, 1.0, 0, 0.0), False),
        (Agreement(3, 0, 1, 1.0, 1.0, 0, 0.0), False),
        (Agreement(0, 0, 0, None, None, 0, 0.0), False),  # nothing would be proved
    ],
)
def test_the_selftest_judges(got: Agreement, fine: bool) -> None:
    if fine:
        check(got)
    else:
        with pytest.raises(CheckError, match=r"golden answers: (of|they name no object)"):
            check(got)


def cases() -> list[Case]:
    segmenter, _ = scripted((0.9, 0.7))
    boxes = (Box(1.5, 2, 20, 30), Box(0, 0, 9, 9, positive=False))
    asked: list[str | Concept] = ["Red circle, größer", Concept("a", boxes), Concept(boxes=boxes)]
    empty, _ = scripted(())
    return [
        Case(PICTURE, tuple(segmenter.segment(PICTURE, asked))),
        Case(PICTURE[:30, :20], tuple(empty.segment(PICTURE[:30, :20], "nothing"))),
    ]


def sealed(folder: Path, given: Sequence[Case]) -> Bundle:
    """A bundle with these golden answers instead of its own file of that name."""
    make(folder)
    (folder / "golden/picture.png").unlink()
    (folder / "golden").rmdir()
    write_golden(folder, given)
    seal(folder, MANIFEST)
    return Bundle.open(folder)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    given = cases()
    read = read_golden(sealed(tmp_path / "one", given))
    assert [case.concepts for case in read] == [case.concepts for case in given]
    for want, got in zip(given, read, strict=True):
        assert np.array_equal(want.picture, got.picture)
        for a, b in zip(want.answers, got.answers, strict=True):
            assert np.array_equal(a.masks, b.masks) and b.masks.dtype == bool
            assert np.array_equal(a.boxes, b.boxes) and np.array_equal(a.scores, b.scores)
            assert b.boxes.dtype == b.scores.dtype == np.float32 and a.presence == b.presence
    sealed(tmp_path / "two", given)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_replay(tmp_path: Path) -> None:
    given = cases()[:1]
    assert replay(scripted((0.9, 0.7))[0], given) == Agreement(6, 0, 0, 1.0, 1.0, 0, 0.0)
    lost = replay(scripted((0.9,))[0], given)
    assert (lost.objects, lost.missing, lost.extra) == (6, 3, 0)
    more = replay(scripted((0.9, 0.7, 0.6))[0], given)
    assert (more.objects, more.missing, more.extra) == (6, 0, 3)


def test_a_bundle_without_golden_answers(tmp_path: Path) -> None:
    assert read_golden(make(tmp_path / "bundle")) == []


@pytest.mark.parametrize(
    "text", ["no json", "[{}]", '[{"picture": "golden/00.png", "answers": [{"phrase": 3}]}]', "[3]"]
)
def test_damaged_answers(tmp_path: Path, text: str) -> None:
    sealed(tmp_path / "bundle", cases())
    (tmp_path / "bundle" / ANSWERS).write_text(text)
    seal(tmp_path / "bundle", MANIFEST)
    bundle = Bundle.open(tmp_path / "bundle")
    with pytest.raises(CheckError, match=r"golden/answers\.json is not readable \(.*\); export again"):
        read_golden(bundle)


def test_a_damaged_picture(tmp_path: Path) -> None:
    sealed(tmp_path / "bundle", cases())
    (tmp_path / "bundle/golden/00.png").write_bytes(b"no picture")
    seal(tmp_path / "bundle", MANIFEST)
    with pytest.raises(CheckError, match="is not readable"):
        read_golden(Bundle.open(tmp_path / "bundle"))
