"""The published vectors: our loop, driven by those files alone, comes to what they say."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import conformance
import numpy as np
import pytest
from conformance import FOLDER, Driven

from sam3_edge.loop.history import Choice, History, Memory
from sam3_edge.loop.settings import Settings

PAGE = FOLDER.parent / "conformance.md"
KINDS = {"birth", "match", "unmatched", "empty", "hole", "nms", "recondition", "suppression", "shrink"}


def differences(name: str, settings: Settings | None = None) -> list[str]:
    """Where our loop differs from a vector, in words."""
    vector, found = conformance.load(name), []
    played = Driven(vector, settings=settings).play()
    try:
        for frame, got in zip(vector.info["frames"], played, strict=True):
            want = frame["expected"]
            found += [f"frame {frame['frame']}: {key}" for key in want if got[key] != want[key]]
    except (KeyError, ValueError) as error:  # the vector has no answer for an object that should not be there
        found.append(f"no answer: {error}")
    return found


@pytest.mark.parametrize("name", conformance.names())
def test_our_loop_conforms(name: str) -> None:
    assert differences(name) == []


def test_the_vectors_are_small_and_have_every_kind_of_event() -> None:
    vectors = [conformance.load(name) for name in conformance.names()]
    frames = [frame for vector in vectors for frame in vector.info["frames"]]
    events = [event for frame in frames for event in frame["expected"]["events"]]
    assert {kind for kind, _, _ in events} == KINDS | {"retraction"}
    retracted = [about for kind, _, about in events if kind == "retraction"]
    assert [] in retracted and any(retracted)  # as unmatched, and as duplicates
    assert any((vector.arrays["object_score"] <= 0).any() for vector in vectors)
    conditioned = [
        sum(row == vector.config.memory_times - 1 for _, row in seen["memories"])
        for vector in vectors
        for frame in vector.info["frames"]
        for seen in frame["expected"]["attended"].values()
    ]
    assert max(conditioned) >= 4
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 4e6


def test_the_page_names_everything_in_the_files() -> None:
    page = PAGE.read_text()
    named = set(re.findall(r"`([a-z_]+)`", page))
    for name in conformance.names():
        vector = conformance.load(name)
        frame = vector.info["frames"][0]
        assert {*vector.info, *vector.arrays, *frame, *frame["expected"]} <= named
        for array, values in vector.arrays.items():
            assert re.search(rf"`{array}`.*\| {values.dtype} \[", page), array


def late(history: History, frame: int, *, span: float) -> Choice:
    choice = CHOOSE(history, frame, span=span)
    choice.pointer_time[:] += np.float32(1 / span)
    return choice


def recent(history: History, frame: int, *, valid: bool) -> Memory:
    return REMEMBER(history, frame, valid=True)


CHOOSE, REMEMBER = History.choose, History.remember
MISTAKES: dict[str, tuple[Settings, tuple[Any, str, Callable[..., Any]] | None]] = {
    "pointer time off by one": (Settings(), (History, "choose", late)),
    "no hot-start": (Settings(hot_start=0), None),
    "no occlusion suppression": (Settings(occlusion=0), None),
    "no shrink test": (Settings(shrink=0), None),
    "no hole filling": (Settings(speck=0), None),
    "recency instead of score": (Settings(), (History, "remember", recent)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_loop_shows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, replace = MISTAKES[name]
    if replace:
        monkeypatch.setattr(*replace)
    assert any(differences(clip, settings) for clip in conformance.names()[1:])
