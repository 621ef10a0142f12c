"""What is written: COCO documents that hold the masks, overlays that show them, files that are whole."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from sam3_edge.boxes import Box
from sam3_edge.coco import CocoDocument
from sam3_edge.concept import Concept
from sam3_edge.errors import ResourceError, UsageError
from sam3_edge.overlay import LONGEST, SMALLEST, TINT, colour, draw, png
from sam3_edge.polygons import doubled_area, polygons, rings
from sam3_edge.segmentation import Segmentation
from sam3_edge.writing import write_file

Mask = NDArray[np.bool_]


def found(concept: str | Concept, *masks: Mask) -> Segmentation:
    """Objects with these masks, their boxes drawn around them."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for row, mask in enumerate(masks):
        y, x = np.nonzero(mask)
        boxes[row] = x.min(), y.min(), x.max() + 1, y.max() + 1
    concept = Concept(concept) if isinstance(concept, str) else concept
    scores = np.linspace(0.9, 0.6, len(masks)).astype(np.float32)
    return Segmentation(concept, np.array(masks, bool), boxes, scores, 0.95)


def disc(height: int, width: int, *, radius: float, hole: float = 0) -> Mask:
    y, x = np.mgrid[:height, :width]
    away = np.hypot(y - height / 2 + 0.5, x - width / 2 + 0.5)
    inside: Mask = (away <= radius) & (away >= hole)
    return inside


def covered(shape: tuple[int, int], rings: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """How many of the polygons each pixel's centre lies in, by counting the upright edges to its left."""
    count = np.zeros(shape, np.int64)
    for ring in rings:
        inside = np.zeros(shape, bool)
        for (x, y), (other, end) in zip(ring, np.roll(ring, -1, 0), strict=True):
            assert (x == other) != (y == end)  # along one axis, and never in place
            if x == other:
                inside[min(y, end) : max(y, end), x:] ^= True
        count += inside
    return count


MASKS = {
    "one pixel": np.ones((1, 1), bool),
    "full": np.ones((4, 7), bool),
    "disc": disc(30, 40, radius=12),
    "ring": disc(30, 40, radius=12, hole=5),
    "two pixels by a corner": np.eye(2, dtype=bool),
    "chessboard": np.indices((5, 6)).sum(0) % 2 == 0,
    "a hole by a corner of another": ~np.pad(np.eye(2, dtype=bool), 1),
}


@pytest.mark.parametrize("name", MASKS)
def test_polygons_hold_exactly_the_mask(name: str) -> None:
    mask = MASKS[name]
    traced = polygons(mask)
    assert np.array_equal(covered((mask.shape[0], mask.shape[1]), traced), mask.astype(int))
    assert sum(doubled_area(ring) for ring in traced) == 2 * mask.sum()
    assert all(doubled_area(ring) > 0 for ring in traced)


@pytest.mark.parametrize("density", [0.1, 0.5, 0.8, 0.97])
def test_polygons_of_noise(density: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        mask = rng.random(rng.integers(1, 20, 2)) < density
        traced = polygons(mask)
        assert np.array_equal(covered((mask.shape[0], mask.shape[1]), traced), mask.astype(int))
        if traced:
            flat = [ring.ravel().astype(float).tolist() for ring in traced]
            encoded = rle.merge(rle.frPyObjects(flat, *mask.shape))
            assert np.array_equal(rle.decode(encoded).astype(bool), mask)


def test_pixels_that_touch_by_a_corner_are_apart() -> None:
    assert len(polygons(MASKS["two pixels by a corner"])) == 2
    assert len(polygons(MASKS["chessboard"])) == 15


def test_holes_run_the_other_way() -> None:
    outer, hole = sorted(rings(MASKS["ring"]), key=doubled_area, reverse=True)
    assert doubled_area(outer) > 0 > doubled_area(hole)
    assert doubled_area(outer) + doubled_area(hole) == 2 * MASKS["ring"].sum()


@pytest.mark.parametrize("corners", [False, True])
def test_coco_reads_back(tmp_path: Path, corners: bool) -> None:
    ring, full = disc(30, 40, radius=12, hole=5), np.ones((30, 40), bool)
    document = CocoDocument(polygons=corners)
    box = Box(0, 0, 9, 9)
    document.add("a.png", (30, 40), [found("red disc", ring, full), found(Concept(boxes=(box,)), ring)])
    document.add("b ü.png", (5, 9), [found("red disc", np.eye(5, 9, dtype=bool)), found("nothing")])
    (tmp_path / "coco.json").write_bytes(document.to_bytes())
    coco = COCO(tmp_path / "coco.json")
    assert [image["file_name"] for image in coco.loadImgs([1, 2])] == ["a.png", "b ü.png"]
    assert {category["name"] for category in coco.loadCats(coco.getCatIds())} == {
        "red disc",
        "visual",
        "nothing",
    }
    annotations = coco.loadAnns(coco.getAnnIds())
    for annotation, mask in zip(annotations, (ring, full, ring, np.eye(5, 9)), strict=True):
        assert np.array_equal(coco.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum() and annotation["iscrowd"] == 0
    assert [a["image_id"] for a in annotations] == [1, 1, 1, 2]
    assert [a["category_id"] for a in annotations] == [1, 1, 2, 1]
    assert annotations[0]["bbox"] == [8, 3, 24, 24] and annotations[0]["score"] == pytest.approx(0.9)
    assert isinstance(annotations[0]["segmentation"], list if corners else dict)


def test_coco_of_nothing() -> None:
    values = json.loads(CocoDocument().to_bytes())
    assert values["images"] == values["categories"] == values["annotations"] == []


def test_overlay_tints_and_outlines() -> None:
    picture = np.full((600, 800, 3), 100, np.uint8)
    mask = disc(600, 800, radius=100)
    before = picture.copy()
    drawn = np.asarray(draw(picture, [found("red disc", mask)]))
    assert np.array_equal(picture, before) and drawn.shape == picture.shape
    want = (100 * (1 - TINT) + np.array(colour(0)) * TINT + 0.5).astype(np.uint8)
    assert drawn[300, 400].tolist() == want.tolist()  # inside
    assert drawn[300, 301].tolist() == list(colour(0))  # the outline
    assert drawn[20, 20].tolist() == [100, 100, 100]
    label = drawn[180:200, 300:420]  # above the box, whose corner is at (300, 200)
    assert (label == colour(0)).all(-1).sum() > 800 and (label.sum(-1) < 60).sum() > 100


def test_overlay_colours_differ_and_stay() -> None:
    colours = [colour(number) for number in range(24)]
    assert len(set(colours)) == 24 and colours == [colour(number) for number in range(24)]
    near = [np.abs(np.subtract(a, b)).sum() for a, b in pairwise(colours)]
    assert min(near) > 100


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 900), (900, 3), (20, 20), (480, 640)])
def test_overlay_of_any_size(height: int, width: int) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    phrase = "a very long phrase " * 20
    image = draw(picture, [found(phrase, np.ones((height, width), bool))] * 3)
    assert max(image.size) >= SMALLEST and image.width % width == 0
    assert image.width // width == image.height // height
    assert Image.open(io.BytesIO(png(image))).size == image.size


def test_labels_keep_the_score() -> None:
    # Two phrases that differ after what fits look the same; two scores do not.
    picture, mask = np.zeros((480, 480, 3), np.uint8), np.ones((480, 480), bool)
    long = [found("x" * LONGEST + tail, mask) for tail in ("yyy", "zzz")]
    first, second = (np.asarray(draw(picture, [each])) for each in long)
    assert np.array_equal(first, second)
    two = found("x" * LONGEST + "yyy", mask, mask)
    other = Segmentation(two.concept, two.masks[1:], two.boxes[1:], two.scores[1:], 0.9)
    assert not np.array_equal(np.asarray(draw(picture, [other])), first)


def test_overlay_of_nothing_is_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (480, 500, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(draw(picture, [])), picture)
    empty = Segmentation(
        Concept("a"),
        np.zeros((1, 480, 500), bool),
        np.zeros((1, 4), np.float32),
        np.ones(1, np.float32),
        1,
    )
    draw(picture, [empty])  # an object may have no pixel above 0


def test_writes_whole_files(tmp_path: Path) -> None:
    path = write_file(tmp_path / "new" / "a.json", b"one")
    assert path.read_bytes() == b"one"
    with pytest.raises(UsageError, match=r"a\.json exists: pass --overwrite"):
        write_file(path, b"two")
    assert path.read_bytes() == b"one"
    write_file(path, b"two", overwrite=True)
    assert path.read_bytes() == b"two" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("code", "kind", "fact"),
    [
        (errno.ENOSPC, ResourceError, "No space left on device, nothing was kept"),
        (errno.EACCES, UsageError, "cannot be written"),
    ],
)
@pytest.mark.parametrize("step", ["write", "rename"])
def test_failed_writes_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception], fact: str, step: str
) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def fail(*ignored: object) -> None:
        raise OSError(code, os.strerror(code))

    original: Callable[[Path, bytes], int] = Path.write_bytes

    def half(path: Path, data: bytes) -> int:
        original(path, data[: len(data) // 2])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(*((Path, "write_bytes", half) if step == "write" else (os, "replace", fail)))
    with pytest.raises(kind, match=fact):
        write_file(tmp_path / "a", b"half of this", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="pass another -o"):
        write_file(tmp_path / "file" / "a.json", b"x")
