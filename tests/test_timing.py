"""What a benchmark says of a model whose times are known: right, and nothing that the samples do not bear."""

from __future__ import annotations

import mmap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import betainc
from slow import Ticking, footage, slow_model

from sam3_edge.alone import alone
from sam3_edge.errors import UsageError
from sam3_edge.timing import components, growth
from sam3_edge.timing.percentiles import Summary, discarded, needed, told
from sam3_edge.timing.report import about
from sam3_edge.timing.running import Plan, measure
from sam3_edge.timing.steady import bins

SLEPT = 0.010
# Which row each graph is in. The others run in no frame that only follows.
ROWS = {
    "backbone": "backbone",
    "detector_features": "features",
    "tracker_features": "features",
    "exemplar": "exemplar",
    "detector": "detector",
    "masks": "masks",
    "tracker_step": "track",
    "memorize": "memorize",
}


def plan(**more: Any) -> Plan:
    return Plan(Path("scripted"), **{"frames": 24, "seconds": 0.0, "warmup": 2, "objects": (3,), **more})


def means(run: dict[str, Any]) -> dict[str, float]:
    return {name: row["mean"] for name, row in run["components"]["rows"].items()}


def timed(graph: str | None, clock: Ticking, mode: str = "frame") -> dict[str, Any]:
    """A run in which one graph, or decoding, sleeps."""
    model = slow_model(lambda name, frame: clock.sleep(SLEPT) if name == graph else None)
    shot = footage(lambda: clock.sleep(SLEPT) if graph == "decode" else None)
    return measure(model, plan(mode=mode), shot, 2, clock=clock)  # what one run of `masks` draws


@pytest.mark.parametrize("graph", [*ROWS, "decode"])
@pytest.mark.parametrize("mode", ["frame", "component"])
def test_a_sleep_shows_where_it_is_and_nowhere_else(graph: str, mode: str) -> None:
    plain, slow = means(timed(None, Ticking(), mode)), means(timed(graph, Ticking(), mode))
    assert plain.keys() == slow.keys() >= {*ROWS.values(), "decode", "prepare", "associate", "post-process"}
    row = ROWS.get(graph, graph)
    assert slow[row] - plain[row] == pytest.approx(10, abs=0.5)
    for name in plain.keys() - {row}:
        assert slow[name] == pytest.approx(plain[name], abs=0.01), name


def test_a_sleep_on_the_real_clock() -> None:
    """Nothing here hangs on how long the rest takes: a sleep is never shorter than it was told to be."""
    model = slow_model(lambda name, frame: time.sleep(SLEPT) if name == "memorize" else None)
    run = measure(model, plan(frames=8), footage(), 3)
    assert run["components"]["rows"]["memorize"]["min"] >= 10
    assert run["latency_ms"]["min"] >= 10


def test_parts_add_up_to_the_frame() -> None:
    assert timed("backbone", Ticking())["components"]["unaccounted"] < components.MOST_UNACCOUNTED
    run = measure(slow_model(), plan(), footage(), 3)
    rows = sum(row["mean"] for row in run["components"]["rows"].values())
    assert rows == pytest.approx((1 - run["components"]["unaccounted"]) * run["latency_ms"]["mean"], rel=1e-2)
    assert len(run["samples_ms"]) == run["frames"] == run["latency_ms"]["n"] == 24
    assert np.mean(run["samples_ms"]) == pytest.approx(run["latency_ms"]["mean"], rel=1e-3)


def test_what_no_row_is_named_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {name: parts for name, parts in components.COMPONENTS.items() if name != "backbone"}
    monkeypatch.setattr(components, "COMPONENTS", rows)
    run = timed("backbone", Ticking())
    assert run["components"]["unaccounted"] > 0.9
    assert any("is in no component" in what for what in about(run))


@pytest.mark.parametrize(("half", "throttles"), [(1.0, False), (1.5, True)])
def test_a_slow_second_half_is_throttling(half: float, throttles: bool) -> None:
    clock = Ticking()

    def before(graph: str, frame: int) -> None:
        if graph == "backbone":
            clock.sleep(0.1 * (half if frame >= 102 else 1))

    sustained = plan(mode="sustained", frames=200, objects=(1,))
    run = measure(slow_model(before), sustained, footage(), 1, clock=clock)
    pace = run["sustained"]
    assert pace["throttles"] is throttles
    assert pace["sustained_by_burst"] == pytest.approx(half, rel=0.01)
    assert any(what.startswith("throttling:") for what in about(run)) is throttles
    assert sum(row["frames"] for row in pace["bins"]) == 200
    assert pace["bins"][2]["p50_ms"] == pytest.approx(100, rel=0.01)


def test_a_second_without_a_frame_is_told() -> None:
    rows = bins([0.0, 0.5, 3.2], [0.4, 0.4, 0.1])
    assert [row["frames"] for row in rows] == [2, 0, 0, 1]
    assert rows[1]["p50_ms"] is None and rows[0]["p50_ms"] == 400


def leaking(leak: int) -> dict[str, Any]:
    """A run of a model that keeps a megabyte of every 100 frames, or none."""
    kept: list[Any] = []

    def before(graph: str, frame: int) -> None:
        if leak and graph == "backbone" and frame % 100 == 0:
            kept.append(mmap.mmap(-1, 1_000_000))  # pages of its own, where malloc may have some left
            kept[-1].write(b"x" * 1_000_000)

    return measure(slow_model(before), plan(frames=1024, objects=(1,)), footage(), 1)


@pytest.mark.parametrize("leak", [0, 1])
def test_a_leak_of_a_megabyte_in_100_frames_is_told(leak: int) -> None:
    run = alone(leaking, leak)  # what other tests leave to malloc grows and shrinks by megabytes
    memory = run["memory"]
    assert memory["leaks"] is bool(leak)
    if leak:
        assert memory["growth_mb_per_1000_frames"] == pytest.approx(10, abs=1.5)
        assert any("memory grows by" in what for what in about(run))
    else:
        assert memory["growth_mb_per_1000_frames"] < growth.MOST


def test_one_step_up_is_no_leak() -> None:
    once = [100.0] * 500 + [120.0] * 500
    assert growth.slope(once) is not None and not growth.leaks(once)
    assert growth.leaks([100 + 0.01 * frame for frame in range(1000)])
    assert not growth.leaks([100 + 0.003 * frame for frame in range(128)])  # 0.3 MB in all
    assert growth.slope([float("nan")] * 1000) is None and growth.slope([1.0] * 99) is None


def test_percentiles_need_samples() -> None:
    assert [needed(level) for level in (50, 90, 95, 99, 99.9)] == [11, 64, 130, 662, 6636]
    few = Summary.of(range(100)).to_json()
    assert told(few["p99"]) == "n/a (needs 662)" and few["p99"]["early_stopping"] is None
    assert told(few["p90"]) == "89.0" and few["p90"]["early_stopping"] > 89
    assert Summary.of(range(662)).percentile(99).value is not None
    assert Summary.of(range(661)).percentile(99).value is None


@pytest.mark.parametrize(
    ("count", "level"), [(64, 90), (63, 90), (1024, 90), (1024, 99), (5000, 99), (200, 50)]
)
def test_early_stopping_is_mlperfs(count: int, level: int) -> None:
    """Its rule as it is written there: t over, n - t under, I_p(n - t, t + 1) <= 1 - c."""
    passing = [t for t in range(1, count) if betainc(count - t, t + 1, level / 100) <= 0.01]
    assert discarded(count, level) == max(passing, default=0)
    estimate = Summary.of(range(count)).percentile(level).bound
    assert estimate == (count - max(passing) if passing else None)


def test_steady_and_unsteady() -> None:
    assert Summary.of([1, 1.01, 0.99]).unstable is False
    assert Summary.of([1, 2, 1]).unstable is True
    assert Summary.of([1.0]).variation is None
    run = timed("backbone", Ticking())
    assert run["warmup"] == {"frames": 2, "steady": False}
    run["latency_ms"]["cv"] = 0.051
    assert [what for what in about(run) if "varies by 5.1%" in what]


def test_a_camera_that_does_not_wait() -> None:
    clock = Ticking()
    model = slow_model(lambda name, frame: clock.sleep(0.1) if name == "backbone" else None)
    run = measure(model, plan(live=30.0, frames=64), footage(), 1, clock=clock, sleep=clock.sleep)
    live = run["live"]
    assert live["dropped_share"] == pytest.approx(2 / 3, abs=0.05)  # 100 ms a frame, a new one every 33
    assert 100 <= live["age_ms"]["mean"] <= 134
    fast = Ticking()
    model = slow_model(lambda name, frame: fast.sleep(0.01) if name == "backbone" else None)
    live = measure(model, plan(live=30.0, frames=64), footage(), 1, clock=fast, sleep=fast.sleep)["live"]
    assert live["dropped"] == 0 and live["age_ms"]["max"] < 12 and 25 < live["processed_fps"] < 31


def test_what_cannot_be_measured() -> None:
    with pytest.raises(UsageError, match="9 objects: this bundle finds 8 at most"):
        measure(slow_model(), plan(), footage(), 9)
    with pytest.raises(UsageError, match="--live is of mode frame"):
        plan(live=3.0, mode="cold")
    with pytest.raises(UsageError, match="leave it or --source out"):
        plan(size=(1, 1), source=Path("x"))
    assert Plan(Path("x"), phrases=("cat",)).counts == (None,)
    assert not Plan(Path("x"), frames=1023).standard and Plan(Path("x"), frames=1024).standard
    assert not Plan(Path("x"), quick=True).standard and not Plan(Path("x"), mode="cold", quick=True).standard
