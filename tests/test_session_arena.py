"""Arenas of every session that runs here, and the scripted session."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import CONFIG

from sam3_edge import registry
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.export.eager import EagerSession
from sam3_edge.runtimes.on_onnx import OnnxSession
from sam3_edge.runtimes.on_script import Frame, ScriptedSession
from sam3_edge.session import HostValues
from sam3_edge.spec import OBJECTS, TensorSpec

IMAGE = {"image": np.zeros((1, 3, CONFIG.image_size, CONFIG.image_size), np.float32)}
TRUNK = {"trunk_feature": np.zeros((1, CONFIG.grid**2, CONFIG.trunk_dim), np.float32)}


def memorize(count: int) -> dict[str, np.ndarray]:
    side, grid = CONFIG.mask_size, CONFIG.grid
    one = np.zeros(count, np.float32)
    coarse = np.zeros((1, CONFIG.dim, grid, grid), np.float32)
    return {
        "tracker_1x": coarse,
        "mask": np.zeros((count, 1, side, side), np.float32),
        "present": one,
        "hard": one,
    }


@pytest.mark.parametrize("kind", [HostValues, EagerSession, OnnxSession, ScriptedSession])
def test_arenas(kind: type[HostValues]) -> None:
    session = kind.__new__(kind)
    arena = session.alloc(TensorSpec("memory", (3, 2, 4)))
    assert not session.fetch(arena).any() and session.fetch(arena).dtype == np.float32
    session.write(arena, (1, 0), np.arange(4, dtype=np.float32))
    view = session.rows(arena, 1, 3)
    session.write(arena, (slice(2, 3),), session.rows(arena, 1, 2))
    assert np.shares_memory(view, arena) and session.fetch(view)[:, 0, 3].tolist() == [3, 3]
    with pytest.raises(UsageError, match=r"write of \[1\] into \[4\]"):
        session.write(arena, (0, 0), np.zeros(1, np.float32))
    assert session.alloc(TensorSpec("ids", (OBJECTS, 2), "int32")).shape == (1, 2)


def test_a_script_answers_frame_by_frame_and_call_by_call() -> None:
    one = {"memory": np.ones((1, CONFIG.grid**2, CONFIG.memory_dim), np.float32)}
    two = lambda feeds: {"memory": 2 * one["memory"].repeat(len(feeds["mask"]), 0)}  # noqa: E731
    frames: list[Frame] = [{"memorize": [one, two]}, {"memorize": two}, {}]
    session = ScriptedSession(CONFIG, iter(frames), keep=2)
    means = []
    for _ in range(2):
        session.run("backbone", IMAGE)
        means += [session.run("memorize", memorize(1))["memory"].mean() for _ in range(2)]
    assert means == [1, 2, 2, 2]
    session.run("backbone", IMAGE)
    answers = session.run("memorize", memorize(3))
    assert answers["memory"].shape == (3, CONFIG.grid**2, CONFIG.memory_dim) and not answers["memory"].any()
    assert [[name for name, _ in calls] for calls in session.calls] == [
        ["backbone", "memorize", "memorize"],
        ["backbone", "memorize"],
    ]
    with pytest.raises(CheckError, match="no more frames"):
        session.run("backbone", IMAGE)


@pytest.mark.parametrize(
    ("frame", "fact"),
    [
        ({"tracker_features": {"tracker_9x": np.zeros(1)}}, "no output tracker_9x"),
        ({"tracker_features": {"tracker_1x": np.zeros((1, 2), np.float32)}}, "want float32"),
        ({"tracker_features": []}, "is run 1 times"),
    ],
)
def test_a_script_that_is_wrong_is_told(frame: Frame, fact: str) -> None:
    session = ScriptedSession(CONFIG, [frame])
    session.run("backbone", IMAGE)
    with pytest.raises(CheckError, match=fact):
        session.run("tracker_features", TRUNK)


def test_a_script_is_a_runtime_and_no_bundle() -> None:
    assert "script" in registry.names("runtime")
    module = registry.load("runtime", "script")
    assert "scripted" in module.selfcheck()
    with pytest.raises(UsageError, match="ScriptedSession"):
        module.open(None)
    with pytest.raises(UsageError, match="no graph"):
        ScriptedSession(CONFIG, []).run("teach", {})
