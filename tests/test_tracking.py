"""`sam3_edge.track`: clips in three lines, from files, folders and frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scenes import PIXELS, A, B, Scene, see

import sam3_edge
from sam3_edge import Segmenter, tracking
from sam3_edge.errors import SourceError, UsageError
from sam3_edge.loop.settings import Settings

FRAMES = 20
SETTINGS = Settings(hot_start=3, hot_unmatched=2, hot_duplicate=2)


class Closing(Segmenter):
    """A model that tells when it is closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Closing:
    """What `load` gives: A is always seen, B on the first frame only, and so taken back."""
    scene = Scene([see((0.9, A), (0.8, B)), *[see((0.9, A))] * FRAMES])
    made = Closing(scene.tracker.config, scene.session, scene.tracker.phrases)
    monkeypatch.setattr(tracking, "load", lambda bundle, threads: made)
    return made


def frames(count: int = FRAMES) -> Iterator[Any]:
    return (PIXELS for _ in range(count))


def test_frames_come_late_and_nothing_is_taken_back(model: Closing) -> None:
    seen = list(sam3_edge.track(frames(), "cat", settings=SETTINGS))
    assert [result.index for result in seen] == list(range(FRAMES)) and model.closed
    assert all(result.ids.tolist() == [0] and result.concepts == ("cat",) for result in seen)


def test_live_frames_come_at_once(model: Closing) -> None:
    given: list[int] = []

    def camera() -> Iterator[Any]:
        for index in range(FRAMES):
            given.append(index)
            yield PIXELS

    results = sam3_edge.track(camera(), "cat", live=True, settings=SETTINGS)
    assert next(results).ids.tolist() == [0, 1] and given == [0]
    assert next(results).ids.tolist() == [0, 1] and given == [0, 1]
    assert {event.kind for result in results for event in result.events} >= {"retraction"}


def test_the_model_is_closed_when_nobody_wants_more(model: Closing) -> None:
    results = sam3_edge.track(frames(), "cat", live=True)
    next(results)
    assert not model.closed
    results.close()  # type: ignore[attr-defined]
    assert model.closed


def test_a_folder_of_pictures(model: Closing, tmp_path: Path) -> None:
    for index in range(4):
        Image.fromarray(PIXELS).save(tmp_path / f"{index}.png")
    seen = list(sam3_edge.track(tmp_path, "cat", settings=SETTINGS))
    assert len(seen) == 4 and seen[3].masks.shape == (1, *PIXELS.shape[:2])


def test_what_is_wrong_is_said_at_once(model: Closing, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="phrase is empty"):
        sam3_edge.track(frames(), " ")
    assert model.closed
    with pytest.raises(SourceError, match="no such file"):
        sam3_edge.track(tmp_path / "absent.mp4", "cat")
    results = sam3_edge.track([np.zeros((3, 3), np.uint8)], "cat", live=True)
    with pytest.raises(UsageError, match="want uint8"):
        next(results)


def test_callers_who_own_the_loop(model: Closing) -> None:
    tracker = model.tracker(settings=SETTINGS, size=(64, 96))
    tracker.add("cat")
    assert tracker.step(PIXELS).ids.tolist() == [0, 1] and tracker.settings is SETTINGS
    with pytest.raises(UsageError, match="after frames of 96 x 64"):
        tracker.step(PIXELS[1:])
