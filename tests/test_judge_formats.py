"""Results of pictures: read as they are meant, refused when they are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from judged import (
    SIDE,
    Edit,
    clip_cases,
    coco,
    edited,
    found,
    picture_cases,
    pictures_at,
    right,
    right_clips,
    saco,
    shape,
    tracked,
    without,
    write,
)

from sam3_edge.boxes import Box
from sam3_edge.coco import CocoDocument
from sam3_edge.concept import Concept
from sam3_edge.errors import CheckError, EdgeError, SourceError, UsageError
from sam3_edge.judge.answering import predictions
from sam3_edge.judge.case import encode
from sam3_edge.judge.datasets import key_of, open_dataset
from sam3_edge.judge.formats import read_picture_results
from sam3_edge.segmentation import Segmentation

PICTURES, CLIPS = picture_cases(6), clip_cases(2)
ANSWERS, TRACKS = right(PICTURES), right_clips(CLIPS)


def test_saco_pictures(tmp_path: Path) -> None:
    truth = write(tmp_path / "gold.json", saco(PICTURES))
    dataset = pictures_at(truth)
    assert [case.key for case in dataset.cases] == [str(n) for n in range(1, len(PICTURES) + 1)]
    assert [case.truths for case in dataset.cases] == [case.truths for case in PICTURES]
    results = read_picture_results(write(tmp_path / "found.json", found(PICTURES, ANSWERS)), dataset)
    assert list(results.answers.values()) == list(ANSWERS.values()) and not results.unasked
    again = write(tmp_path / "again.json", predictions(dataset, results.answers))
    assert json.loads(again.read_text()) == found(PICTURES, ANSWERS)


def test_saco_annotators(tmp_path: Path) -> None:
    """Every annotator is a truth; what one of them left incomplete is no case; crowds are no objects."""
    first, second = saco(PICTURES), saco(PICTURES)
    dropped = second["annotations"].pop(0)
    second["annotations"][0]["iscrowd"] = 1
    crowded = second["annotations"][0]["image_id"]
    second["images"][3]["is_instance_exhaustive"] = 0
    first["images"][5]["is_instance_exhaustive"] = 0
    paths = [write(tmp_path / f"{n}.json", document) for n, document in enumerate((first, second))]
    dataset = pictures_at(*paths)
    assert dataset.left_out == 2 and not {"4", "6"} & {case.key for case in dataset.cases}
    lost = dict.fromkeys(dataset.media, 0) | {str(dropped["image_id"]): 1}
    lost[str(crowded)] += 1
    for case in dataset.cases:
        assert len(case.truths[0]) - len(case.truths[1]) == lost[case.key]
    results = read_picture_results(write(tmp_path / "found.json", found(PICTURES, ANSWERS)), dataset)
    assert not {"4", "6"} & results.answers.keys()
    assert results.unasked == len(PICTURES[3].truths[0]) + len(PICTURES[5].truths[0])
    second["images"].pop()
    with pytest.raises(CheckError, match="not about the same pictures"):
        pictures_at(paths[0], write(tmp_path / "other.json", second))


def test_coco(tmp_path: Path) -> None:
    truth = write(tmp_path / "coco.json", coco())
    dataset = pictures_at(truth)
    want = {key_of("1.png", "circle"): 2, key_of("2.png", "circle"): 1, key_of("2.png", "square"): 1}
    assert {case.key: len(case.truths[0]) for case in dataset.cases} == want and dataset.left_out == 1
    asked = {case.key: len(case.truths[0]) for case in pictures_at(truth, negatives=True).cases}
    assert asked == want | {key_of("1.png", "square"): 0, key_of("1.png", "star"): 0}
    rows = [row | {"score": 0.5} for row in coco()["annotations"]]
    rows.append(rows[0] | {"category_id": 6})  # a square where there is none: no case without --negatives
    results = read_picture_results(write(tmp_path / "found.json", rows), dataset)
    assert {key: len(answer.masks) for key, answer in results.answers.items()} == want
    assert results.unasked == 2
    saved = predictions(dataset, results.answers)
    assert {(row["image_id"], row["category_id"]) for row in saved} == {(1, 5), (2, 5), (2, 6)}


@pytest.mark.parametrize("corners", [False, True])
def test_our_own_document(tmp_path: Path, corners: bool) -> None:
    """As `run` writes it: by file name and phrase, run lengths or polygons."""
    document = CocoDocument(polygons=corners)
    for case in PICTURES:
        file_name, phrase = case.key.split("\t")
        masks, size = case.truths[0].decode(), len(case.truths[0])
        boxes, scores = np.zeros((size, 4), np.float32), np.full(size, 0.75, np.float32)
        part = Segmentation(Concept(phrase), masks, boxes, scores, 1.0)
        if file_name not in {image["file_name"] for image in document.images}:
            parts = [part]
            document.add(file_name, (SIDE, SIDE), parts)
        else:
            document.images.pop()
            document.add(file_name, (SIDE, SIDE), [part])
    extra = Segmentation(
        Concept("dog", (Box(0, 0, 1, 1),)),
        np.ones((1, SIDE, SIDE), bool),
        np.zeros((1, 4), "f4"),
        np.ones(1, "f4"),
        1,
    )
    document.add("elsewhere.png", (SIDE, SIDE), [extra])
    (tmp_path / "results.json").write_bytes(document.to_bytes())
    dataset = pictures_at(write(tmp_path / "gold.json", saco(PICTURES)))
    results = read_picture_results(tmp_path / "results.json", dataset)
    assert results.unasked == 1
    for case, answer in zip(PICTURES, results.answers.values(), strict=True):
        assert set(answer.scores) <= {0.75}
        assert np.array_equal(answer.masks.decode(), case.truths[0].decode())


@pytest.mark.parametrize(
    ("edit", "kind", "fact"),
    [
        (edited(1, image_id=999), CheckError, "entry 1: dataset gold.json has no image_id '999'"),
        (edited(1, image_id=True), CheckError, "entry 1: image_id is True, want int"),
        (edited(1, image_id=None), CheckError, "entry 1: image_id is None"),
        (edited(score=float("nan")), CheckError, "entry 0: score is nan, want 0 to 1"),
        (edited(score=float("inf")), CheckError, "score is inf"),
        (edited(score=1.5), CheckError, "score is 1.5, want 0 to 1"),
        (edited(score="0.5"), CheckError, "score is '0.5', want a number"),
        (edited(score=True), CheckError, "score is True"),
        (without("score"), CheckError, "score is None"),
        (without("segmentation"), CheckError, "entry 0, segmentation has no 'size'"),
        (
            edited(segmentation=shape(encode(np.ones((9, 9), bool)), (9, 9))),
            CheckError,
            "is of [9, 9] pixels",
        ),
        (without("image_id"), CheckError, "want a list of objects with image_id"),
        (lambda rows: [*rows, 3], CheckError, "has no 'image_id'"),
        (lambda rows: [], CheckError, "not one answer in it"),
        (lambda rows: {}, CheckError, "want a list of objects with image_id"),
        (lambda rows: "hello", CheckError, "want a list of objects with image_id"),
        (lambda rows: {"images": [], "annotations": []}, CheckError, "has no 'categories'"),
        (
            lambda rows: {"images": [], "annotations": [], "categories": []},
            CheckError,
            "answers no case of gold.json",
        ),
        (
            lambda rows: tracked(CLIPS, TRACKS),
            UsageError,
            "has video_ids, dataset gold.json wants image_ids",
        ),
    ],
)
def test_bad_results_of_pictures(tmp_path: Path, edit: Edit, kind: type[EdgeError], fact: str) -> None:
    dataset = pictures_at(write(tmp_path / "gold.json", saco(PICTURES)))
    path = write(tmp_path / "found.json", edit(found(PICTURES, ANSWERS)))
    with pytest.raises(kind) as caught:
        read_picture_results(path, dataset)
    assert fact in str(caught.value) and str(path) in str(caught.value)


def test_results_of_another_dataset(tmp_path: Path) -> None:
    """Ids that are known to the COCO set but answer none of its cases."""
    dataset = pictures_at(write(tmp_path / "coco.json", coco()))
    row = coco()["annotations"][0] | {"image_id": 1, "category_id": 6, "score": 1}
    with pytest.raises(CheckError, match=r"answers no case of coco\.json"):
        read_picture_results(write(tmp_path / "found.json", [row]), dataset)


@pytest.mark.parametrize(
    ("data", "kind", "fact"),
    [
        (b"", SourceError, "is not JSON"),
        (b"[{", SourceError, "is not JSON"),
        (b"\xff\xfe\x00", SourceError, "is not JSON"),
        (b"[" * 100_000, SourceError, "is not JSON"),
        (b'[{"image_id": 1, "image_id": 2}]', CheckError, "'image_id' occurs twice"),
    ],
)
def test_what_is_no_document(tmp_path: Path, data: bytes, kind: type[EdgeError], fact: str) -> None:
    dataset = pictures_at(write(tmp_path / "gold.json", saco(PICTURES)))
    (tmp_path / "bad.json").write_bytes(data)
    with pytest.raises(kind, match=fact):
        read_picture_results(tmp_path / "bad.json", dataset)
    with pytest.raises(kind, match=fact):
        open_dataset([str(tmp_path / "bad.json")])
    with pytest.raises(SourceError, match="cannot be read"):
        read_picture_results(tmp_path / "absent.json", dataset)
