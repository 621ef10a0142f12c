"""The benchmark of clicks: where they go, what is counted, and a short run of the command."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from click.testing import CliRunner
from results import disc
from scenes import PIXELS, SIZE, A, B, C, Moment, Scene

from sam3_edge import Segmenter
from sam3_edge.benchmarks import clicks
from sam3_edge.benchmarks.clicked_clips import Corrected, corrected
from sam3_edge.benchmarks.clicked_pictures import click_at, clicked, objects_of
from sam3_edge.judge.case import Masks
from sam3_edge.loop.prompts import Point
from sam3_edge.resize import enlarge

NOTHING = np.zeros((30, 40), np.bool_)


def test_the_first_click_goes_into_the_middle() -> None:
    at = click_at(disc(30, 40, radius=8, x=12.5), NOTHING)
    assert at is not None and at.positive and at.x == 12.5 and at.y in (14.5, 15.5)
    edge = NOTHING.copy()
    edge[:, :9] = True  # a strip along the edge of the picture: its border counts too
    assert click_at(edge, NOTHING) in [Point(4.5, row + 0.5) for row in range(30)]
    assert click_at(edge, edge) is None


def test_the_next_goes_into_the_widest_error() -> None:
    truth = disc(30, 40, radius=8, x=12.5)
    wide = truth | disc(30, 40, radius=5, x=33.5)
    at = click_at(truth, wide)
    assert at is not None and not at.positive and (at.x, at.y) in ((33.5, 14.5), (33.5, 15.5))
    half = truth.copy()
    half[:, 12:] = False
    at = click_at(truth, half | disc(30, 40, radius=2, x=33.5))
    assert at is not None and at.positive


class Learner:
    """A selection that draws the object's left part, ten columns more with every click, always as if sure."""

    def __init__(self, truth: np.ndarray) -> None:
        self.truth, self.points = truth, list[Point]()

    def add(self, x: float, y: float, positive: bool) -> None:
        self.points.append(Point(x, y, positive))

    @property
    def masks(self) -> np.ndarray:
        drawn = self.truth.copy()
        drawn[:, 10 * len(self.points) :] = False
        return drawn[None]


def test_every_click_is_measured_on_the_mask_it_gave() -> None:
    truth = np.ones((30, 40), np.bool_)
    learner = Learner(truth)
    reached = clicked(cast(Any, learner), truth)
    assert reached == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert all(at.positive and at.x > 10 * count for count, at in enumerate(learner.points[:4]))


def astray(scene: Scene) -> Any:
    """The scene's tracker from the beginning: it sees B from frame 3 on, and C once it is corrected."""
    scene.tracker.reset()
    moments = (Moment(tracked={0: B} if index >= 3 else {}) for index in range(10))
    scene.session.frames = (scene.frame(moment) for moment in moments)
    return scene.tracker


def test_a_correction_is_measured_on_the_frames_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The object turns into C on frame 3; its track goes to B instead, and is clicked there."""
    scene = Scene([], concepts=(), refined=C)
    model = Segmenter(scene.tracker.config, scene.session, scene.tracker.phrases)
    monkeypatch.setattr(model, "tracker", lambda: astray(scene))
    before, after = enlarge([A, C], *SIZE)
    truth = np.stack([before] * 3 + [after] * 7)
    frames, clip = np.repeat(PIXELS[None], 10, axis=0), cast(Any, SimpleNamespace(name="clip"))
    found = corrected(model, clip, frames, 4, truth)
    assert found == Corrected("clip", 4, 3, before=0, alone=0, corrected={1: 1, 3: 1})
    assert corrected(model, clip, frames[:3], 4, truth[:3]) is None  # it never drifts


def test_the_summary_pairs_the_tracks() -> None:
    rows = np.array([[0.2, 0.4, 0.6, 0.7, 0.8, 0.5], [0.4, 0.6, 0.8, 0.9, 1.0, 0.7]])
    drifted = [
        Corrected("a", 0, 3, 0.1, 0.2, {1: 0.2, 3: 0.9}),
        Corrected("a", 1, 5, 0.3, 0.4, {1: 0.3, 3: 0.5}),
    ]
    document = clicks.summary(rows, 7, drifted)
    assert [document["iou_after"][n]["value"] for n in ("1", "3", "5", "box")] == [0.3, 0.7, 0.9, 0.6]
    once, thrice = document["gain"]["1"], document["gain"]["3"]
    assert (document["followed"], document["drifted"], thrice["value"], once["value"]) == (7, 2, 0.4, -0.05)
    assert thrice["interval"] == [0.1, 0.7] and document["corrected"]["3"]["value"] == 0.7
    text = clicks.markdown(document)
    assert "| after 1 click | 0.300 (0.20 to 0.40) |" in text and "2 of 7 tracks that drift" in text
    assert "| gain by 3 clicks, track by track | 0.400 (0.10 to 0.70) |" in text


def test_what_must_hold() -> None:
    rows = np.array([[0.2, 0.4, 0.6, 0.7, 0.8, 0.5], [0.4, 0.6, 0.8, 0.9, 1.0, 0.7]])
    helped, hurt, late = (
        Corrected("a", 0, 3, 0.1, 0.2, {1: 0.6, 3: 0.9}),
        Corrected("a", 1, 5, 0.3, 0.4, {1: 0.9, 3: 0.3}),
        Corrected("a", 2, 5, 0.3, 0.4, {1: 0.4, 3: 0.9}),
    )
    assert clicks.verdict(clicks.summary(rows, 2, [helped])) == "pass"
    assert clicks.verdict(clicks.summary(rows, 2, [])) == "pass"
    for other in (hurt, late):  # by three clicks, by one
        assert "does not surely raise J" in clicks.verdict(clicks.summary(rows, 2, [helped, other]))
    assert "does not rise" in clicks.verdict(clicks.summary(rows[:, [2, 1, 2, 3, 4, 5]], 2, [helped]))


def test_nothing_drifts() -> None:
    document = clicks.summary(np.zeros((0, 6)), 3, [])
    assert document["iou_after"] == {} and "gain" not in document
    assert "0 of 3 tracks" in clicks.markdown(document)


def test_the_command(exported: Path, tmp_path: Path) -> None:
    words = ["--bundle", str(exported), "--pictures", "2", "--clips", "0", "--threads", "1"]
    done = CliRunner().invoke(clicks.main, [*words, "--output", str(tmp_path / "clicks.json")])
    assert done.exit_code == 1, done.output  # random weights learn nothing from clicks
    document = json.loads((tmp_path / "clicks.json").read_text())
    assert document["objects"] >= 2 and list(document["iou_after"]) == ["1", "2", "3", "4", "5", "box"]
    assert (tmp_path / "clicks.md").read_text() in done.output
    assert document["verdict"].startswith("mean IoU does not rise") and document["verdict"] in done.output


def test_objects_are_asked_once_and_tiny_ones_not_at_all() -> None:
    big, tiny = disc(30, 40, radius=8), disc(30, 40, radius=2)
    cases = [SimpleNamespace(truths=(Masks.of(np.stack(few)),)) for few in ([big, tiny], [big])]
    frozen = SimpleNamespace(picture=np.zeros((30, 40, 3), np.uint8), cases=cases)
    objects = objects_of(cast(Any, frozen)).decode()
    assert len(objects) == 1 and np.array_equal(objects[0], big)
