"""The benchmark of what `run` adds to the model: its parts add up, and it counts what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from filmed import model, restless

from sam3_edge.benchmarks import keeps_up
from sam3_edge.benchmarks.keeps_up import Clocked, over_clips
from sam3_edge.benchmarks.paired import Times
from sam3_edge.judge.frozen_clips import clip


def test_parts_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of one second a call: a whole run is longer than its parts by what lies between them."""
    machine, one = model(restless()[:1] * 64), clip(0)
    short = replace(one, script=replace(one.script, frames=6))
    calls: list[int] = []

    def ticking(action: Callable[[], object]) -> Times:
        before = len(calls)
        calls.append(0)
        action()
        inner = len(calls) - before - 1
        return Times(wall=100.0 if inner else 1.0, processor=200.0 if inner else 1.0)

    monkeypatch.setattr(keeps_up, "clock", ticking)
    found = over_clips(machine, [short], bundle="0" * 64, advance=lambda count: None)
    (row,) = found["runs"]
    assert (row["clip"], row["frames"]) == ("clip_000", 6)
    assert (
        row["wall"]["seconds"] == 100 and row["wall"]["decoding"] == 0.08
    )  # 6 frames, their number, the end
    graphs = 1 - row["wall"]["not_the_model"]
    assert graphs > 0.3 and row["processor"]["not_the_model"] == pytest.approx(1 - graphs / 2, abs=1e-4)
    rest = row["wall"]["host_and_encoding"] + row["wall"]["decoding"]
    assert rest == pytest.approx(row["wall"]["not_the_model"], abs=2e-4)
    assert found["not_the_model"] == {name: row[name]["not_the_model"] for name in ("wall", "processor")}
    assert not isinstance(machine.session, Clocked)
