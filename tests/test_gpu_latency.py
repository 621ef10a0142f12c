"""The latency benchmark: what it calls exists and runs; its numbers are for a machine with a GPU."""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner
from tiny_export import CONFIG

from sam3_edge.benchmarks import gpu_latency


def test_every_graph_of_a_frame_is_timed() -> None:
    calls = dict(gpu_latency.ours(CONFIG, "cpu", compiled=False))
    assert list(calls) == ["backbone and detector_features", *gpu_latency.GRAPHS]
    for call in calls.values():
        timed = gpu_latency.measure(call, "cpu", repeats=1)
        assert 0 < timed["median_ms"] <= timed["p90_ms"]


def test_transformers_is_asked_for_the_same_levels() -> None:
    (name, theirs) = next(gpu_latency.theirs(CONFIG, "cpu", compiled=False))
    (same, ours) = next(gpu_latency.ours(CONFIG, "cpu", compiled=False))
    assert name == same
    with torch.inference_mode():
        levels, features = ours(), theirs()
    found = [tuple(level.shape) for level in features.fpn_hidden_states[:3]]  # type: ignore[attr-defined]
    assert [tuple(level.shape) for level in levels] == found  # type: ignore[attr-defined]


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = CliRunner().invoke(gpu_latency.main, [])
    assert done.exit_code == 4 and "sees no GPU here" in done.output
