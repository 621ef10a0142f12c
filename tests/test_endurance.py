"""A short endurance run, what it would catch, and the committed long ones."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

from sam3_edge.alone import alone
from sam3_edge.benchmarks import crowd, endurance, memory, streaming, streaming_peer
from sam3_edge.benchmarks.memory import problems
from sam3_edge.benchmarks.memory_plot import Panel, Series, plot
from sam3_edge.errors import CheckError
from sam3_edge.loop.roster import Roster
from sam3_edge.loop.track import Track

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
P = crowd.PERIOD


@pytest.fixture(autouse=True)
def few_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each looks at all that Python holds, which is a lot where torch is imported."""
    monkeypatch.setattr(memory, "READINGS", 2)


def test_the_crowd_comes_and_goes_as_it_says() -> None:
    tracker, events, most = crowd.tracker(), Counter[tuple[int, str]](), 0
    for step in range(2 * P):
        crowd.say_goodbye(tracker)
        result = tracker.step(endurance.PIXELS)
        events.update((step // P, event.kind) for event in result.events)
        most = max(most, len(tracker.tracks))
    assert most == 2 and tracker.roster.next_id == 2 * P // crowd.EVERY
    second = {kind: count for (period, kind), count in events.items() if period}
    want = {"birth": 36, "retraction": 18, "removal": 18, "unmatched": 144, "empty": 108, "recondition": 63}
    assert second == {**want, "match": 954}


def test_memory_does_not_grow() -> None:
    # In a process of its own: here other tests' torch gives memory back and takes it when it likes.
    found = alone(endurance.scripted, P, 3 * P)
    assert found["objects"] == 108 and found["readings"][-1]["step"] == 3 * P
    assert found["growth"]["arrays"] == 0
    assert not problems(found, endurance.LIMITS)


@pytest.mark.parametrize("traced", [False, True])
def test_a_leak_shows(traced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    end = Roster.end

    def forgetful(roster: Roster, track: Track) -> None:
        kept.append((track, np.zeros(1000)))
        end(roster, track)

    monkeypatch.setattr(Roster, "end", forgetful)
    found = endurance.scripted(P // 2, P, traced)
    names = {problem.split()[0] for problem in problems(found, endurance.LIMITS)}
    assert {"arrays", "traced_kb"} & names == {"arrays", *(["traced_kb"] if traced else [])}


def test_commands_write_what_they_measure(tmp_path: Path) -> None:
    place = tmp_path / "steps.json"
    done = CliRunner().invoke(
        endurance.main, ["--steps", "20", "60", "--traced", "20", "40", "--output", str(place)]
    )
    document = json.loads(place.read_text())
    assert done.exit_code == bool(document["failures"]), done.output
    assert [document[run]["steps"] for run in ("plain", "traced")] == [60, 40]
    assert all(reading["traced_kb"] > 0 for reading in document["traced"]["readings"])
    assert document["plain"]["readings"][0]["resident_mb"] > 10


def test_the_clip_moves_and_is_always_the_same() -> None:
    frames = list(streaming.clip(40))
    again = list(streaming.clip(40))
    assert all((one == other).all() for one, other in zip(frames, again, strict=True))
    assert all((one != other).any() for one, other in pairwise(frames))
    colours = {tuple(colour) for frame in frames for colour in frame.reshape(-1, 3)[::7].tolist()}
    assert set(streaming.COLOURS) <= colours


def test_real_frames_through_a_bundle(exported: Path) -> None:
    found = streaming.streamed(exported, "red shape", 30)
    assert [reading["step"] for reading in found["readings"]] == [3, 15, 30]
    assert found["objects"] > 0 and found["readings"][-1]["objects"] <= streaming.OBJECTS
    steps = {"plain": {"readings": [{"step": 1, "resident_mb": 2.0}, {"step": 2, "resident_mb": 2.0}]}}
    panels = streaming.panels({"ours": found, "beside": {**found, "name": "theirs"}}, steps)
    assert [[series.name for series in panel.series] for panel in panels] == [
        ["sam3-edge, ONNX Runtime", "theirs"],
        ["sam3-edge"],
    ]


def test_transformers_tracks_on_the_same_clip_with_the_same_weights() -> None:
    found = streaming_peer.streamed(12)
    assert [reading["step"] for reading in found["readings"]] == [1, 6, 12]
    assert found["objects"] >= 2, "it follows nothing: its memory says nothing"


def test_weights_that_transformers_does_not_know_are_named() -> None:
    streaming_peer.refuse_strangers(["tracker_neck.fpn_layers.3.proj1.weight"], [])
    with pytest.raises(CheckError, match=r"other weights .*: tracker_neck\.x, y"):
        streaming_peer.refuse_strangers(["tracker_neck.x"], ["y"])


def test_the_plot_is_a_picture() -> None:
    lines = [Series("a & b", [(1, 10), (2, 20)]), Series("c", [(1, 30), (2, 40)])]
    root = ElementTree.fromstring(
        plot([Panel("Frames", "frames", lines), Panel("Steps", "steps", lines[:1])])
    )
    kind = "{http://www.w3.org/2000/svg}"
    drawn = [line.attrib["points"] for line in root.iter(f"{kind}polyline")]
    assert len(drawn) == 3 and drawn[0] == "235.0,212.4 410.0,164.8"
    assert "a & b" in [text.text for text in root.iter(f"{kind}text")]
