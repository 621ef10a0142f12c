"""Labels from a teacher: right where they are given, left out where it is not sure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import Command
from PIL import Image

from sam3_edge import load
from sam3_edge.errors import UsageError
from sam3_edge.judge.case import Masks, PictureCase
from sam3_edge.judge.datasets import PictureSet, open_dataset
from sam3_edge.labelling import Gates, hardest, label
from sam3_edge.shapes.scenes import Scene, draw_scene

PHRASES = ("red circle", "blue square", "green star", "circle", "star", "square", "yellow shape", "dog")


def write_scenes(folder: Path, count: int) -> dict[str, Scene]:
    made = {f"{n}.png": draw_scene(np.random.default_rng((77, n)), most=5) for n in range(count)}
    folder.mkdir()
    for name, scene in made.items():
        Image.fromarray(scene.picture).save(folder / name)
    return made


def truth(scene: Scene, phrase: str) -> Masks:
    words = set(phrase.split()) - {"shape"}
    items = [item.mask for item in scene.items if words <= item.words]
    return Masks.of(np.array(items, bool).reshape(-1, *scene.picture.shape[:2]))


def test_labels_of_shapes_are_true(tmp_path: Path, command: Command) -> None:
    """Of unlabelled pictures whose truth is known. A broken file and a copy are skipped and named."""
    scenes = write_scenes(tmp_path / "pictures", 24)
    (tmp_path / "pictures" / "bad.png").write_bytes(b"no picture")
    (tmp_path / "pictures" / "copy.png").write_bytes((tmp_path / "pictures" / "0.png").read_bytes())
    (tmp_path / "phrases.txt").write_text("\n".join(PHRASES))
    out = tmp_path / "labels.json"
    done = command("label", tmp_path / "pictures", "--phrases", tmp_path / "phrases.txt", "-o", out, "--json")
    assert done.code == 0, done.err
    report, document = json.loads(done.out), json.loads(out.read_text())
    assert {row["file_name"] for row in document["info"]["skipped"]} == {"bad.png", "copy.png"}
    assert report["skipped"] == 2 and report["pictures"] == 24
    found = open_dataset([str(out)])
    assert isinstance(found, PictureSet)
    right, given, empty = 0, 0, []
    for case in found.cases:
        assert isinstance(case, PictureCase)
        name, phrase = found.asked[case.key]
        want, got = truth(scenes[name], phrase), case.truths[0]
        given += len(got)
        right += int((got.iou(want).max(1, initial=0) >= 0.5).sum()) if len(got) else 0
        empty += [not len(want)] if not len(got) else []
    assert given >= 24 and right / given >= 0.9
    assert len(empty) >= 48 and np.mean(empty) >= 0.98
    assert report["positives"] + report["negatives"] == len(found.cases)


def test_a_gate_that_nothing_passes(tmp_path: Path) -> None:
    write_scenes(tmp_path / "pictures", 1)
    with load() as segmenter:
        made = label(
            segmenter, [tmp_path / "pictures" / "0.png"], PHRASES[:4], Gates(margin=0.4999, absence=0.4999)
        )
    assert not made.annotations and made.counts["unsure"] > 0


def test_the_hardest_negatives_come_first() -> None:
    absent = [("dog", 0.4), ("red star", 0.1), ("cup", 0.3), ("red square", 0.2)]
    assert hardest(absent, ["red circle", "blue square"]) == ["red square", "red star", "dog", "cup"]


@pytest.mark.parametrize("wrong", [{"margin": 0.5}, {"absence": 0.1}, {"agreement": 1.1}, {"negatives": -1}])
def test_gates_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="want a margin of"):
        Gates(**wrong)  # type: ignore[arg-type]
