"""Clips of others, in documents and folders: read as they are meant, refused when they are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged import (
    CLIP_SIZE,
    FRAMES,
    Edit,
    clip_cases,
    clips_at,
    edited,
    found,
    picture_cases,
    right,
    right_clips,
    shape,
    tracked,
    veval,
    without,
    write,
)
from PIL import Image

from sam3_edge.errors import CheckError, EdgeError, SourceError, UsageError
from sam3_edge.judge.case import Clip, Masks, encode
from sam3_edge.judge.datasets import key_of, open_dataset
from sam3_edge.judge.formats import read_clip_results

PICTURES, CLIPS = picture_cases(6), clip_cases(2)
ANSWERS, TRACKS = right(PICTURES), right_clips(CLIPS)


def test_saco_clips(tmp_path: Path) -> None:
    dataset = clips_at(write(tmp_path / "veval.json", veval(CLIPS)))
    keys = [case.key for case in dataset.cases]
    assert keys == [*(case.key for case in CLIPS), key_of("clip_0", "cube")]
    for case, want in zip(dataset.cases, CLIPS, strict=False):
        assert list(case.truth.objects.values()) == list(want.truth.objects.values())
    assert dataset.cases[-1].truth == Clip(CLIP_SIZE, FRAMES, {})
    results = read_clip_results(write(tmp_path / "found.json", tracked(CLIPS, TRACKS)), dataset)
    assert results.answers == {**TRACKS, keys[-1]: Clip(CLIP_SIZE, FRAMES, {})} and not results.same_ids


def test_an_empty_mask_is_an_object_out_of_sight(tmp_path: Path) -> None:
    dataset = clips_at(write(tmp_path / "veval.json", veval(CLIPS)))
    rows = tracked(CLIPS, TRACKS)
    rows[0]["segmentations"][2] = shape(encode(np.zeros(CLIP_SIZE, bool)), CLIP_SIZE)
    results = read_clip_results(write(tmp_path / "found.json", rows), dataset)
    assert results.answers[CLIPS[0].key].objects[1][2] is None


@pytest.mark.parametrize(
    ("edit", "kind", "fact"),
    [
        (edited(video_id=9), CheckError, "has no video_id '9' or category_id '1'"),
        (edited(category_id=9), CheckError, "has no video_id '1' or category_id '9'"),
        (without("category_id"), CheckError, "has no 'category_id'"),
        (edited(segmentations=[None]), CheckError, f"1 masks, the clip has {FRAMES} frames"),
        (edited(segmentations=None), CheckError, "segmentations is None, want list"),
        (edited(score=float("nan")), CheckError, "score is nan"),
        (
            lambda rows: found(PICTURES, ANSWERS),
            UsageError,
            "has image_ids, dataset veval.json wants video_ids",
        ),
    ],
)
def test_bad_results_of_clips(tmp_path: Path, edit: Edit, kind: type[EdgeError], fact: str) -> None:
    dataset = clips_at(write(tmp_path / "veval.json", veval(CLIPS)))
    path = write(tmp_path / "found.json", edit(tracked(CLIPS, TRACKS)))
    with pytest.raises(kind) as caught:
        read_clip_results(path, dataset)
    assert fact in str(caught.value) and str(path) in str(caught.value)


def draw_davis(folder: Path, clips: dict[str, np.ndarray[Any, np.dtype[np.uint8]]], mode: str = "P") -> Path:
    """Clips of identities [T, H, W] as palette pictures."""
    for name, frames in clips.items():
        (folder / name).mkdir(parents=True)
        for number, frame in enumerate(frames):
            image = Image.fromarray(frame)
            if mode == "P":
                image.putpalette([number for colour in range(256) for number in (colour, 0, 255 - colour)])
            image.convert(mode).save(folder / name / f"{number:05}.png")
    return folder


def identities() -> np.ndarray[Any, np.dtype[np.uint8]]:
    frames = np.zeros((3, 10, 12), np.uint8)
    frames[:, 2:5, 2:5], frames[1:, 6:9, 6:9], frames[:, 0, 0] = 1, 4, 255
    return frames


@pytest.mark.parametrize("inside", ["", "Annotations/480p"])
def test_davis(tmp_path: Path, inside: str) -> None:
    frames = identities()
    binary = np.where(frames == 1, 255, 0).astype(np.uint8)
    draw_davis(tmp_path / "davis" / inside, {"bear": frames, "cow": binary})
    dataset = clips_at(tmp_path / "davis")
    bear, cow = dataset.cases
    assert (bear.key, cow.key) == ("bear", "cow") and bear.truth.size == (10, 12)
    assert list(bear.truth.objects) == [1, 4] and bear.truth.objects[4][0] is None  # 255 is void
    masks = Masks((10, 12), tuple(runs for runs in bear.truth.objects[4] if runs)).decode()
    assert np.array_equal(masks, frames[1:] == 4)
    assert list(cow.truth.objects) == [255]  # the only value: DAVIS 2016's one object
    results = read_clip_results(draw_davis(tmp_path / "found", {"bear": frames}), dataset)
    assert results.same_ids and results.answers["bear"].objects == bear.truth.objects
    assert results.answers["bear"].scores == {1: 1.0, 4: 1.0} and not results.answers["cow"].objects


def test_bad_folders(tmp_path: Path) -> None:
    dataset = clips_at(draw_davis(tmp_path / "davis", {"bear": identities()}))

    def refused(kind: type[EdgeError], fact: str, clips: dict[str, Any], mode: str = "P") -> None:
        folder = draw_davis(tmp_path / f"bad{len(list(tmp_path.iterdir()))}", clips, mode)
        with pytest.raises(kind, match=fact):
            read_clip_results(folder, dataset)

    refused(CheckError, "3 frames of .9, 12. pixels, want 3 of .10, 12.", {"bear": identities()[:, 1:]})
    refused(CheckError, "2 frames", {"bear": identities()[1:]})
    refused(CheckError, "answers no case", {"cow": identities()})
    refused(CheckError, "has no clip 'cow'", {"bear": identities(), "cow": identities()})
    refused(CheckError, "is of mode RGB, want a palette", {"bear": identities()}, "RGB")
    (tmp_path / "davis/bear/00001.png").unlink()
    with pytest.raises(CheckError, match=r"00002\.png where 00001\.png should be"):
        open_dataset([str(tmp_path / "davis")])
    (tmp_path / "davis/bear/00001.png").write_text("no picture")
    with pytest.raises(SourceError, match="cannot be read as PNG"):
        open_dataset([str(tmp_path / "davis")])
    (tmp_path / "nothing").mkdir()
    with pytest.raises(SourceError, match="name a DAVIS folder"):
        open_dataset([str(tmp_path / "nothing")])
    for name in ("480p", "1080p"):
        draw_davis(tmp_path / "both/Annotations" / name, {"bear": identities()})
    with pytest.raises(UsageError, match="has 1080p, 480p: name the one"):
        open_dataset([str(tmp_path / "both")])
