"""The built-in model through Meta's session and through ours: the same identities and masks, frame by frame.

Two clips here; `replay_all` does all ten.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import pytest
from comparison import Apart, compare
from oracles.video_recording import load_video
from replay import Seams
from trained_clips import digest, draw, replayed, shown, trained

from sam3_edge.export.model import fold
from sam3_edge.export.threads import use_threads

RECORDING = load_video("trained")


@pytest.fixture(scope="module")
def session() -> Iterator[Seams]:
    with use_threads(1):
        yield Seams(fold(deepcopy(trained().model)))


def test_what_was_recorded_is_what_ships() -> None:
    assert digest(shown()) == RECORDING.digest, "other weights: record again (tests/oracles/run.sh --write)"


def test_the_recording_is_worth_comparing() -> None:
    assert len(RECORDING.clips) == 10 and all(len(clip.frames) == 60 for clip in RECORDING.clips)
    counts = RECORDING.counts["trained"]
    assert counts["birth"] >= 20 and counts["match"] >= 500 and counts["recondition"] >= 5, counts


@pytest.mark.parametrize("number", [0, 4])
def test_ours_decides_like_theirs(number: int, session: Seams) -> None:
    apart = Apart()
    for step in replayed(session, draw(number), RECORDING.clips[number]):
        apart.add(compare(step, exact=False))
    assert apart.logits < 0.05
