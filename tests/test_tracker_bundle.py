"""The loop on an exported bundle: what ONNX Runtime follows is what PyTorch follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import sam3_edge
from sam3_edge import Box, Tracker
from sam3_edge.bundle import Bundle
from sam3_edge.export import checkpoint
from sam3_edge.export.eager import EagerSession
from sam3_edge.loop.events import FrameResult
from sam3_edge.phrases import open_phrases
from sam3_edge.shapes.scenes import draw_scene

FRAMES = 12


def frames() -> list[NDArray[np.uint8]]:
    """A picture that moves a little to the left on every frame."""
    picture = draw_scene(np.random.default_rng(4), size=96).picture
    return [np.roll(picture, -2 * time, axis=1) for time in range(FRAMES)]


def follow(tracker: Tracker) -> list[FrameResult]:
    """Detections of a phrase from the start, and a box drawn on the third frame."""
    tracker.add("red shape")
    seen = []
    for time, frame in enumerate(frames()):
        seen.append(tracker.step(frame))
        if time == 2:
            seen.append(tracker.add_object(box=Box(20, 20, 60, 60)))
    return seen


@pytest.fixture(scope="module")
def pair(exported: Path, tiny_checkpoint: Path) -> tuple[list[FrameResult], list[FrameResult]]:
    with sam3_edge.load(exported, threads=1) as model:
        ours = follow(Tracker(model.session, model.config, model.phrases))
    bundle = Bundle.open(exported)
    session = EagerSession(checkpoint.load(tiny_checkpoint).model)
    return ours, follow(Tracker(session, bundle.config, open_phrases(bundle, session)))


def test_there_is_something_to_follow(pair: tuple[list[FrameResult], list[FrameResult]]) -> None:
    ours, _ = pair
    assert len(ours) == FRAMES + 1
    assert sum(bool(result.masks.any()) for result in ours) >= FRAMES // 2
    told = {event.kind for result in ours for event in result.events}
    assert "birth" in told and len({int(id) for result in ours for id in result.ids}) >= 3


def test_a_bundle_follows_what_the_model_follows(
    pair: tuple[list[FrameResult], list[FrameResult]],
) -> None:
    for one, other in zip(*pair, strict=True):
        assert one.index == other.index and one.ids.tolist() == other.ids.tolist()
        assert one.concepts == other.concepts
        assert np.abs(one.presence - other.presence).max(initial=0) < 1e-3
        differing = (one.masks ^ other.masks).sum((1, 2))
        assert (differing <= 4).all(), differing
