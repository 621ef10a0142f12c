"""Datasets and run lengths: every spelling is read, damage is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged import (
    clip_cases,
    coco,
    picture_cases,
    right,
    right_clips,
    saco,
    veval,
    write,
)
from pycocotools import mask as rle

from sam3_edge.errors import CheckError, SourceError, UsageError
from sam3_edge.judge.case import Masks, PictureAnswer, encode
from sam3_edge.judge.datasets import PictureSet, open_dataset
from sam3_edge.judge.reading import runs_of, unpack

PICTURES, CLIPS = picture_cases(6), clip_cases(2)
ANSWERS, TRACKS = right(PICTURES), right_clips(CLIPS)


def random_masks(count: int) -> list[np.ndarray[Any, np.dtype[np.bool_]]]:
    rng = np.random.default_rng(0)
    shapes = [(int(rng.integers(1, 40)), int(rng.integers(1, 40))) for _ in range(count)]
    return [rng.random(size) < rng.choice([0.0, 0.02, 0.5, 1.0]) for size in shapes]


def test_run_lengths_of_every_spelling() -> None:
    for mask in [*random_masks(100), np.zeros((3000, 3000), bool), np.ones((3000, 3000), bool)]:
        packed, (height, width) = encode(mask), mask.shape
        runs = unpack(packed, where="here").tolist()
        flat = mask.ravel(order="F").astype(int)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], flat)))).tolist()
        assert runs == np.diff([0, *edges, flat.size]).tolist()
        for counts in (packed.decode(), runs):
            again = runs_of({"size": [height, width], "counts": counts}, (height, width), where="here")
            assert np.array_equal(rle.decode({"size": [height, width], "counts": again}), mask)
    square = [[2, 1, 6, 1, 6, 4, 2, 4], [10, 10, 12, 10, 12, 12, 10, 12]]
    drawn = rle.decode({"size": [20, 20], "counts": runs_of(square, (20, 20), where="here")})
    assert drawn[1:4, 2:6].all() and drawn[10:12, 10:12].all() and drawn.sum() == 16


@pytest.mark.parametrize(
    ("segmentation", "fact"),
    [
        (None, "has no 'size'"),
        ({"size": [4, 4]}, "run lengths are None"),
        ({"counts": "00"}, "has no 'size'"),
        ({"size": [5, 4], "counts": [20]}, "the mask is of [5, 4] pixels, the picture of [4, 4]"),
        ({"size": [4, 4], "counts": [15]}, "do not fill 4 x 4 pixels"),
        ({"size": [4, 4], "counts": [17, -1]}, "do not fill"),
        ({"size": [4, 4], "counts": [16.0]}, "do not fill"),
        ({"size": [4, 4], "counts": ""}, "are damaged"),
        ({"size": [4, 4], "counts": "P"}, "are damaged"),  # says that more follows
        ({"size": [4, 4], "counts": " 1"}, "are damaged"),
        ({"size": [4, 4], "counts": "o" * 40 + "0"}, "are damaged"),
        ({"size": [4, 4], "counts": "\xff"}, "run lengths are"),
        ({"size": [4, 4], "counts": encode(np.ones((4, 5), bool)).decode()}, "do not fill"),
        ([], "without polygons"),
        ([[1, 1, 2, 2]], "want x, y of three corners"),
        ([[1, 1, 2, 2, 3, float("nan")]], "want x, y of three corners"),
        ([["a"] * 6], "want x, y of three corners"),
    ],
)
def test_a_damaged_segmentation(segmentation: Any, fact: str) -> None:
    with pytest.raises(CheckError) as caught:
        runs_of(segmentation, (4, 4), where="entry 3")
    assert fact in str(caught.value) and str(caught.value).startswith("entry 3")


def doubled(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document[name].append(dict(document[name][0]))


def renamed(document: dict[str, Any]) -> None:
    document["images"][1]["file_name"] = document["images"][0]["file_name"]


def dangling(document: dict[str, Any]) -> None:
    document["annotations"][0]["image_id"] = 77


def flat(document: dict[str, Any]) -> None:
    document["images"][0]["height"] = 0


def emptied(document: dict[str, Any]) -> None:
    document["annotations"] = []


@pytest.mark.parametrize(
    ("damage", "fact"),
    [
        (doubled("images"), "two entries of images have the id 1"),
        (doubled("categories"), "two entries of categories have the id 5"),
        (renamed, "'1.png' occurs twice in images"),
        (dangling, "there is no image 77"),
        (flat, "image 1 is of 20 x 0 pixels"),
        (emptied, "there is no case in it"),
    ],
)
def test_a_damaged_dataset(tmp_path: Path, damage: Callable[[dict[str, Any]], None], fact: str) -> None:
    document = coco()
    damage(document)
    with pytest.raises(CheckError, match=fact):
        open_dataset([str(write(tmp_path / "coco.json", document))])


@pytest.mark.parametrize(
    ("words", "options", "fact"),
    [
        ((), {}, "no dataset"),
        (("shapes", "x"), {}, "comes with everything"),
        (("shapes",), {"negatives": True}, "comes with everything"),
        (("coco.json", "coco.json"), {}, "only SA-Co pictures have several annotators"),
        (("gold.json",), {"negatives": True}, "--negatives with"),
        (("veval.json",), {"pictures": Path()}, "--pictures with"),
    ],
)
def test_what_does_not_go_together(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    options: dict[str, Any],
    fact: str,
) -> None:
    for name, document in (("gold", saco(PICTURES)), ("coco", coco()), ("veval", veval(CLIPS))):
        write(tmp_path / f"{name}.json", document)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=fact):
        open_dataset(words, **options)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder, nor one of shapes, shapes-clips"):
        open_dataset([str(tmp_path / "absent")])
    with pytest.raises(CheckError, match="neither images nor videos"):
        open_dataset([str(write(tmp_path / "x.json", {"info": 1}))])


def test_two_cases_of_one_key(tmp_path: Path) -> None:
    answer = PictureAnswer(Masks((4, 4)))
    assert not answer.scores
    case = PICTURES[0]
    with pytest.raises(CheckError, match="two cases ask the same"):
        PictureSet("twice", (case, case), {}, {})
