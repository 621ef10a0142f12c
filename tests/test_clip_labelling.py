"""Labels of clips: objects that a teacher follows twice alike, and phrases that are in no frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import Command
from PIL import Image

from sam3_edge.clip_labelling import agreement, find_clips, is_known
from sam3_edge.concept import Concept
from sam3_edge.errors import SourceError, UsageError
from sam3_edge.export.distillation_data import open_source
from sam3_edge.judge.case import Clip, encode
from sam3_edge.judge.datasets import ClipSet, open_dataset
from sam3_edge.segmentation import Segmentation
from sam3_edge.shapes.clips import Script, draw_clip, draw_masks
from sam3_edge.shapes.scripts import write_script

PHRASES = ("circle", "star", "square", "red circle", "blue square", "green star", "dog")
FRAMES = 16


def write_clips(folder: Path, count: int) -> dict[str, Script]:
    """Folders of frames, of nobody's but this test's seeds."""
    made = {}
    for number in range(count):
        script = write_script(np.random.default_rng((178, number)), ("camera",), frames=FRAMES)
        made[f"clip{number}"] = script
        place = folder / f"clip{number}"
        place.mkdir(parents=True)
        for index, frame in enumerate(draw_clip(script)):
            Image.fromarray(frame.picture).save(place / f"{index:05d}.png")
    return made


def truth(script: Script, phrase: str) -> Clip:
    actors = script.answers(frozenset(phrase.split()))
    masks = [draw_masks(script, index) for index in range(FRAMES)]
    objects = {i: tuple(encode(m[i]) if m[i].any() else None for m in masks) for i in actors}
    return Clip((script.size, script.size), FRAMES, {i: m for i, m in objects.items() if any(m)})


def test_labels_of_clips_are_true(tmp_path: Path, command: Command) -> None:
    """A broken video and a copy are skipped and named; students learn from the frames."""
    scripts = write_clips(tmp_path / "clips", 6)
    (tmp_path / "clips" / "bad.mp4").write_bytes(b"no video")
    copy = tmp_path / "clips" / "copy"
    copy.mkdir()
    for picture in (tmp_path / "clips" / "clip0").iterdir():
        (copy / picture.name).write_bytes(picture.read_bytes())
    (tmp_path / "phrases.txt").write_text("\n".join(PHRASES))
    out = tmp_path / "labels.json"
    words = ["--phrases", tmp_path / "phrases.txt", "-o", out, "--json"]
    done = command("label", tmp_path / "clips", "--clips", *words)
    assert done.code == 0, done.err
    report, document = json.loads(done.out), json.loads(out.read_text())
    assert {row["video_name"] for row in document["info"]["skipped"]} == {"bad", "copy"}
    assert report["clips"] == 6 and report["skipped"] == 2
    found = open_dataset([str(out)])
    assert isinstance(found, ClipSet)
    right, given, empty = 0, 0, []
    for case in found.cases:
        want = truth(scripts[found.asked[case.key].file_name], found.asked[case.key].phrase)
        given += len(case.truth.objects)
        iou = agreement(case.truth, want)
        right += int((iou.max(1, initial=0) >= 0.5).sum())
        empty += [not want.objects] if not case.truth.objects else []
    assert given >= 3 and right / given >= 0.9
    assert len(empty) >= 12 and np.mean(empty) >= 0.98
    assert report["positives"] + report["negatives"] == len(found.cases)
    source = open_source(str(out), pictures=tmp_path / "clips", phrases=None, photographs=False)
    drawn, asked = source.draw(np.random.default_rng(0), 56, 2, held=False)
    assert drawn.shape == (56, 56, 3) and {question.phrase for question in asked} <= set(PHRASES)
    with pytest.raises(SourceError, match="no such picture"):
        open_source(str(out), pictures=tmp_path, phrases=None, photographs=False)


def test_a_frame_that_shows_another_object_makes_a_phrase_unsure() -> None:
    masks = np.zeros((2, 8, 8), bool)
    masks[0, :4], masks[1, 5:] = True, True
    clip = Clip((8, 8), 1, {7: (encode(masks[0]),)}, {7: 0.9})
    assert is_known(clip, 0, seen(masks[:1], [0.9]))
    assert not is_known(clip, 0, seen(masks, [0.9, 0.8]))
    assert is_known(clip, 0, seen(masks, [0.9, 0.4]))
    assert not is_known(clip, 0, seen(masks[:0], []))  # followed where nothing is
    assert is_known(Clip((8, 8), 1, {}), 0, seen(masks[:0], []))


def seen(masks: np.ndarray, scores: list[float]) -> Segmentation:
    boxes = np.zeros((len(masks), 4), np.float32)
    return Segmentation(Concept("shape"), masks, boxes, np.array(scores, np.float32), 1.0)


def test_clips_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no clips"):
        find_clips([tmp_path])
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.mp4").write_bytes(b"")
    assert find_clips([tmp_path / "a"]) == {"x": tmp_path / "a" / "x.mp4"}
    with pytest.raises(UsageError, match="one name"):
        find_clips([tmp_path / "a", tmp_path / "b"])


def test_videos_without_the_option(tmp_path: Path, command: Command) -> None:
    (tmp_path / "x.mp4").write_bytes(b"")
    (tmp_path / "phrases.txt").write_text("circle")
    done = command("label", tmp_path / "x.mp4", "--phrases", tmp_path / "phrases.txt")
    assert done.code == 2 and "pass --clips" in done.err
