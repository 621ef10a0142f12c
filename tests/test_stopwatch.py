"""Parts of a frame: they add up, whatever runs inside what; and the benchmarks that read them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from scenes import A, B, Scene, see

from sam3_edge.benchmarks import host
from sam3_edge.spec import ModelConfig
from sam3_edge.stopwatch import REST, Stopwatch, TimedSession, timed

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
HOST_PARTS = {"prepare", "detect", "propagate", "associate", "decide", "remember", "bear", "show"}
GRAPHS = {"backbone", "detector_features", "exemplar", "detector", "masks", "tracker_features"}
TRACKING = {"tracker_step", "memorize"}


def ticking(steps: Iterator[int]) -> Callable[[], float]:
    """A clock that is one second later at every look."""
    return lambda: float(next(steps))


def test_what_runs_inside_does_not_count_twice() -> None:
    watch = Stopwatch(ticking(count()))

    @timed("inner")
    def inner() -> None:
        pass

    @timed("outer")
    def outer() -> None:
        inner()

    with watch.frame():  # 0: rest
        outer()  # 1: outer, 2: inner, 3: outer, 4: rest
        inner()  # 5: inner, 6: rest
    assert watch.seconds == {REST: 3.0, "outer": 2.0, "inner": 2.0}  # 7: the end
    inner()
    assert sum(watch.seconds.values()) == 7  # nobody measures any more


def test_a_part_ends_with_an_error() -> None:
    watch = Stopwatch(ticking(count()))

    @timed("wrong")
    def wrong() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), watch.frame():
        wrong()
    assert watch.running == [] and watch.seconds == {REST: 2.0, "wrong": 1.0}


def test_a_frame_in_its_parts() -> None:
    scene = Scene([see((0.9, A), (0.9, B))] * 2)
    scene.tracker.session = scene.tracker.roster.bank.session = TimedSession(scene.session)
    scene.step()
    watch = Stopwatch()
    with watch.frame():
        scene.step()
    assert watch.seconds.keys() == HOST_PARTS - {"bear"} | GRAPHS | TRACKING | {REST, "fetch", "bear"}
    assert all(seconds > 0 for seconds in watch.seconds.values())


def test_the_committed_host_time() -> None:
    """Made by `make host`."""
    document = json.loads((RESULTS / "host.json").read_text())
    assert document["verdict"] == "pass" and document["host_ms"]["median"] <= document["limit_ms"] == 25
    assert document["objects"] == host.OBJECTS == 10 and document["size"] == [1080, 1920]
    assert document["frames"] >= 64 and document["parts_ms"].keys() >= HOST_PARTS - {"bear"}


def test_replayed_answers_are_of_the_models_shapes() -> None:
    config = ModelConfig(image_size=336)
    replay = host.Replay(config, poses=1)
    for name, spec in replay.specs.items():
        for tensor in spec.outputs:
            value = replay.answers[name][tensor.name]
            assert value.shape == tensor.sized(host.OBJECTS) and value.dtype == tensor.dtype
    assert (replay.poses[0] > 0).any((1, 2)).all()
