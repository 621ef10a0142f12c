"""The demo's clip: what is asked of it, how it is judged, and the animation."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence
from scenes import A, B, Scene, see

from sam3_edge import Segmenter
from sam3_edge.demo_clip import FRAMES, RATE, SIDE, answer_of, film, follow_clip, gif
from sam3_edge.judge.region import JAndF, j_and_f
from sam3_edge.video.reading import open_video


def test_the_clip_is_followed_judged_and_drawn() -> None:
    """A model that always sees the same two things finds next to nothing of two look-alikes that move."""
    scene = Scene([see((0.9, A), (0.9, B))] * FRAMES, concepts=())
    model = Segmenter(scene.tracker.config, scene.session, scene.tracker.phrases)
    followed = follow_clip(model)
    assert len(followed.frames) == len(followed.results) == FRAMES
    assert all(result.ids.tolist() == [0, 1] for result in followed.results)
    assert followed.score.objects == 2 and followed.score.j_and_f is not None
    assert 0 <= followed.score.j_and_f < 0.3
    assert followed.caption.startswith(f"{followed.phrase}: 2 objects, 2 identities, J&F ")
    truth = answer_of(followed.results)  # of itself, all is right
    perfect = JAndF.of([j_and_f(truth, truth, same_ids=False, skip_ends=False)])
    assert perfect.j_and_f == pytest.approx(1) and perfect.objects == 2
    first = next(followed.drawn())
    assert np.asarray(first).std() > 0 and first.width > followed.frames[0].shape[1]


def test_the_animation() -> None:
    """Every frame, at its rate, for ever; what does not move costs next to nothing."""
    images = [Image.new("RGB", (60, 60), "white") for _ in range(10)]
    for place, image in enumerate(images):
        image.paste("red", (5 * place, 20, 5 * place + 9, 30))
    data = gif(images)
    with Image.open(io.BytesIO(data)) as moving:
        assert moving.format == "GIF" and moving.size == (SIDE, SIDE) and moving.info["loop"] == 0
        assert moving.info["duration"] == pytest.approx(1000 / RATE, abs=10)
        assert len(list(ImageSequence.Iterator(moving))) == 10
        moving.seek(4)
        shown = np.asarray(moving.convert("RGB")).astype(int)
    red = (shown[..., 0] > 200) & (shown[..., 1] < 80)
    columns = np.flatnonzero(red.any(axis=0)) * 60 / SIDE
    assert columns.min() == pytest.approx(20, abs=1) and columns.max() == pytest.approx(28.8, abs=1)
    assert len(data) < 20_000


def test_the_video(tmp_path: Path) -> None:
    pictures = [np.full((48, 64, 3), 20 * level, np.uint8) for level in range(8)]
    path = film(pictures, tmp_path / "clip.mp4")
    seen = [frame.pixels.mean() for frame in open_video(path).frames()]
    assert seen == pytest.approx([20 * level for level in range(8)], abs=4)
    assert list(tmp_path.iterdir()) == [path]
