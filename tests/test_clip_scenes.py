"""Frames of clips as scenes: what is visible is an item with the words of its actor, and questions fit it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sam3_edge.export import shapes_batch
from sam3_edge.export.clip_scenes import draw_clip_scene, scene_of
from sam3_edge.export.shapes_batch import draw_batch
from sam3_edge.export.shapes_model import SHAPES_CONFIG
from sam3_edge.export.train_shapes import Training
from sam3_edge.shapes.clips import draw_frame
from sam3_edge.shapes.questions import answers
from sam3_edge.shapes.scenes import UNSEEN
from sam3_edge.shapes.scripts import write_script


def test_a_scene_is_what_is_visible_of_named_actors() -> None:
    script = write_script(np.random.default_rng(4), ["occlusion", "leaving"])
    assert any(not actor.words for actor in script.actors), "a bar"
    seen = 0
    for index in range(0, script.frames, 7):
        frame = draw_frame(script, index)
        scene = scene_of(script.actors, frame)
        named = [(a.words, m) for a, m in zip(script.actors, frame.masks, strict=True) if a.words and m.any()]
        assert scene.picture is frame.picture and len(scene.items) == len(named)
        for item, (words, mask) in zip(scene.items, named, strict=True):
            assert item.words == words and np.array_equal(item.mask, mask)
            x0, y0, x1, y1 = item.box
            assert mask[y0:y1, x0:x1].sum() == mask.sum()
            assert mask[y0, x0:x1].any() and mask[y1 - 1, x0:x1].any()
            assert mask[y0:y1, x0].any() and mask[y0:y1, x1 - 1].any()
            assert answers(scene, words)
            seen += 1
    assert seen > 20


def test_frames_show_something_and_nothing_that_is_withheld() -> None:
    rng = np.random.default_rng(0)
    looks = [(item.shape, item.colour) for _ in range(30) for item in draw_clip_scene(rng, 112).items]
    assert len(looks) > 60 and not set(looks) & set(UNSEEN)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (1.0, 8)])
def test_batches_have_as_many_as_they_are_told(
    share: float, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = []

    def draw(rng: np.random.Generator, size: int) -> object:
        made.append(draw_clip_scene(rng, size))
        return made[-1]

    monkeypatch.setattr(shapes_batch, "draw_clip_scene", draw)
    run = Training(tmp_path, 0)
    batch = draw_batch(
        np.random.default_rng(1), run.tokenizer, SHAPES_CONFIG, pictures=8, questions=1, most=2, clips=share
    )
    assert len(made) == expected and {id(scene) for scene in batch.scenes} >= set(map(id, made))
