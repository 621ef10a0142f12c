"""Results in the hands of other programs: supervision, pycocotools, Label Studio."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import supervision
from oracles.label_studio import RECORDING, written
from pycocotools import mask as rle
from pycocotools.coco import COCO
from results import MASKS, clip, disc, frame, segmentation

from sam3_edge import labelstudio
from sam3_edge.coco import CocoDocument
from sam3_edge.errors import BackendError, UsageError

DOG, RING = disc(30, 40, radius=6, x=30), disc(30, 40, radius=12, hole=5)


def test_supervision_gets_masks_boxes_scores_and_names() -> None:
    found = segmentation("dog", DOG, RING)
    seen = found.to_supervision()
    assert isinstance(seen, supervision.Detections) and len(seen) == 2
    np.testing.assert_array_equal(seen.mask, found.masks)
    np.testing.assert_array_equal(seen.xyxy, found.boxes)
    assert seen.confidence.tolist() == [0.875, 0.5] and seen.class_id.tolist() == [0, 0]
    assert seen.tracker_id is None and seen.data["class_name"].tolist() == ["dog", "dog"]
    assert seen.area.tolist() == [DOG.sum(), RING.sum()]
    scene = np.zeros((30, 40, 3), np.uint8)
    painted = supervision.MaskAnnotator(opacity=1).annotate(scene.copy(), seen[:1])
    assert np.array_equal(painted.any(axis=2), DOG)


def test_supervision_gets_identities_and_the_callers_class_ids() -> None:
    last = clip()[3]
    seen = last.to_supervision(["cat", "dog", "object"])
    assert seen.tracker_id.tolist() == [4, 7] and seen.class_id.tolist() == [1, 2]
    both = supervision.Detections.merge([seen, clip()[0].to_supervision(["cat", "dog", "object"])])
    assert both.tracker_id.tolist() == [4, 7, 4] and both.class_id.tolist() == [1, 2, 1]
    with pytest.raises(UsageError, match="'object' is not among the classes"):
        last.to_supervision(["dog"])


@pytest.mark.parametrize("nothing", [segmentation("dog"), frame(0)], ids=["picture", "frame"])
def test_supervision_gets_nothing_when_there_is_nothing(nothing: object) -> None:
    seen = nothing.to_supervision()  # type: ignore[attr-defined]
    assert len(seen) == 0 and seen.mask.shape == (0, 30, 40)
    scene = np.zeros((30, 40, 3), np.uint8)
    assert not supervision.MaskAnnotator().annotate(scene, seen).any()


def test_supervision_can_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(BackendError, match="supervision is not installed: pip install supervision"):
        segmentation("dog", DOG).to_supervision()


@pytest.mark.parametrize("polygons", [False, True])
def test_pycocotools_reads_a_picture(tmp_path: Path, polygons: bool) -> None:
    found = segmentation("dog", DOG, RING)
    (tmp_path / "a.json").write_text(json.dumps(found.to_coco("a.png", polygons=polygons)))
    coco = COCO(tmp_path / "a.json")
    annotations = coco.loadAnns(coco.getAnnIds(catIds=coco.getCatIds(["dog"])))
    assert [a["score"] for a in annotations] == [0.875, 0.5] and "track_id" not in annotations[0]
    masks = np.array([coco.annToMask(a) for a in annotations], bool)
    assert np.array_equal(masks, found.masks)
    assert coco.loadImgs(1)[0]["file_name"] == "a.png"
    assert len(coco.loadRes(coco.dataset["annotations"]).anns) == 2


def test_pycocotools_reads_a_clip(tmp_path: Path) -> None:
    document = CocoDocument()
    for result in clip():
        document.add(f"{result.index:05}.jpg", (30, 40), [result])
    (tmp_path / "clip.json").write_bytes(document.to_bytes())
    coco = COCO(tmp_path / "clip.json")
    assert [i["file_name"] for i in coco.dataset["images"]] == [f"0000{i}.jpg" for i in range(4)]
    assert {c["name"] for c in coco.dataset["categories"]} == {"dog", "object"}
    seen = {(a["image_id"], a["track_id"]): coco.annToMask(a) for a in coco.dataset["annotations"]}
    assert set(seen) == {(1, 4), (2, 4), (4, 4), (4, 7)}
    assert np.array_equal(seen[4, 7].astype(bool), clip()[3].masks[1])


def test_names_as_video_processors_have_them() -> None:
    last = clip()[3]
    assert last.object_ids is last.ids and last.prompt_to_obj_ids == {"dog": [4]}
    assert last.names == ("dog", "object") and last.classes == ("dog", "object")


def test_label_studio_is_given_what_its_sdk_accepted() -> None:
    """The recording was made when the SDK decoded every mask and accepted every prediction."""
    recorded = json.loads(RECORDING.read_text(encoding="utf-8"))
    assert recorded.pop("label_studio_sdk")
    ours = json.loads(json.dumps(written()))
    for part in ("runs", "tasks", "configs"):
        assert ours[part].keys() == recorded[part].keys()
        for name, value in ours[part].items():
            assert value == recorded[part][name], (part, name)


def test_a_brush_covers_the_pixels_of_its_mask() -> None:
    """By the format's description, read bit by bit."""
    for name, mask in MASKS.items():
        bits = "".join(f"{byte:08b}" for byte in labelstudio.run_lengths(mask))
        count, widths = int(bits[:32], 2), [int(bits[i : i + 4], 2) + 1 for i in (37, 41, 45, 49)]
        at, values = 53, list[int]()
        while len(values) < count:
            assert bits[at] == "1", name
            width = widths[int(bits[at + 1 : at + 3], 2)]
            length = int(bits[at + 3 : at + 3 + width], 2) + 1
            values += [int(bits[at + 3 + width : at + 11 + width], 2)] * length
            at += 11 + width
        assert np.array_equal(np.reshape(values, (*mask.shape, 4))[..., 3] > 0, mask), name


def test_label_studio_boxes_end_where_an_object_is_hidden() -> None:
    task = labelstudio.clip_task("a.mp4", clip(), rate=10)
    dog, hand = task["predictions"][0]["result"]
    assert [(s["frame"], s["enabled"]) for s in dog["value"]["sequence"]] == [
        (1, True),
        (2, False),
        (4, False),
    ]
    assert dog["value"]["labels"] == ["dog"] and dog["value"]["framesCount"] == 4
    assert dog["value"]["duration"] == 0.4 and hand["id"] == "object-7"
    first = dog["value"]["sequence"][0]
    assert (first["x"], first["width"]) == (7.5, 25.0) and first["y"] == pytest.approx(100 / 3, abs=1e-4)


def test_run_lengths_are_those_of_the_coco_document() -> None:
    shape = segmentation("dog", DOG).to_coco("a.png")["annotations"][0]["segmentation"]
    assert np.array_equal(rle.decode(shape).astype(bool), DOG)
