"""`eval` of a bundle on clips: it follows each phrase, and is judged as its saved results are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from clip_drawing import clip_of
from commands import Command
from scenes import CONFIG, PIXELS, SIZE, A, B, Moment, Scene

from sam3_edge.concept import Concept
from sam3_edge.judge import datasets
from sam3_edge.judge.case import Clip, ClipCase
from sam3_edge.judge.clip_answering import answer_clips, clip_predictions
from sam3_edge.segmenter import Segmenter
from sam3_edge.shapes.scenes import draw_scene

FRAMES = 12
PHRASES = ("red shape", "shape")


class Frozen(SimpleNamespace):
    """A frozen set of one clip: a picture that moves to the left, and two phrases."""

    @staticmethod
    def cases() -> list[ClipCase]:
        truth = np.zeros((1, FRAMES, 96, 96), bool)
        truth[:, :, 30:60, 30:60] = True
        return [ClipCase(datasets.key_of("clip", phrase), clip_of(truth)) for phrase in PHRASES]

    @classmethod
    def questions(cls) -> Iterator[datasets.ClipQuestion]:
        picture = draw_scene(np.random.default_rng(4), size=96).picture
        frames = np.stack([np.roll(picture, -2 * time, axis=1) for time in range(FRAMES)])
        for case, phrase in zip(cls.cases(), PHRASES, strict=True):
            yield case, frames, Concept(phrase)


def test_a_bundle_on_clips(
    command: Command, monkeypatch: pytest.MonkeyPatch, exported: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(datasets, "import_module", lambda name: Frozen)
    saved = tmp_path / "saved.json"
    words = ("eval", exported, "--dataset", "shapes-clips", "--json", "--save-results", saved)
    done = command(*words)
    assert done.code == 0, done.err
    rows = json.loads(saved.read_text())
    assert {row["video_id"] for row in rows} <= {case.key for case in Frozen.cases()} and rows
    assert all(len(row["segmentations"]) == FRAMES for row in rows)
    again = command("eval", saved, "--dataset", "shapes-clips", "--json").document
    for name, score in done.document["strata"][0]["scores"].items():
        assert again["strata"][0]["scores"][name]["value"] == score["value"], name


def test_each_phrase_gets_its_objects_and_nothing_that_was_taken_back() -> None:
    """A cat on every frame; a dog that one frame alone shows is retracted within the hot-start window."""
    moments = [Moment((((0.9, A),), ((0.9, B),) if time == 3 else ())) for time in range(20)]
    scene = Scene(moments, concepts=())
    segmenter = Segmenter(CONFIG, scene.session, scene.tracker.phrases)
    frames = np.repeat(PIXELS[None], len(moments), axis=0)
    nothing = Clip(SIZE, len(moments), {})
    asked = [(ClipCase(phrase, nothing), frames, Concept(phrase)) for phrase in ("cat", "dog")]
    steps: list[int] = []
    answers = answer_clips(segmenter, asked, advance=steps.append)
    assert steps == [2] and not answers["dog"].objects
    (masklet,) = answers["cat"].objects.values()
    assert all(masklet) and len(masklet) == len(moments)
    assert list(answers["cat"].scores.values()) == [pytest.approx(0.9)]
    assert len(scene.session.calls) == 1  # keeps the last frame: one backbone run for both phrases
    (row,) = clip_predictions(answers)
    assert row["video_id"] == "cat" and row["score"] == pytest.approx(0.9)
