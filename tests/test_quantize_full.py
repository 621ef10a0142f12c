"""`make quantize-full` on the trunk of a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_export import CONFIG

from sam3_edge.benchmarks import quantize_full
from sam3_edge.benchmarks.quantize_full import Run


def test_a_tiny_trunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after one scheme, it goes on where it was."""
    monkeypatch.setattr(quantize_full, "LEAST_SPEED", {})  # integers do not pay in so small a trunk
    monkeypatch.setattr(quantize_full, "alone", lambda action, *arguments: action(*arguments))
    Run(CONFIG, tmp_path, tmp_path / "found.json", 2).scheme("onnx", "w8")
    found = json.loads((tmp_path / "found.json").read_bytes())
    assert found["verdict"] == "not finished" and found["machine"]["nncf"]
    assert set(found["steps"]) == {"onnx: export", "w8: compress", "w8: race"}
    assert found["steps"]["w8: compress"]["compressed"] == {"MatMul int8": 8}
    assert found["steps"]["w8: compress"]["mib"] < found["steps"]["onnx: export"]["mib"]
    assert 0 < found["steps"]["w8: race"]["relative_error"] < 0.1
    again = Run(CONFIG, tmp_path, None, 2)
    monkeypatch.setattr(quantize_full, "alone", pytest.fail)
    again.scheme("onnx", "w8")
    assert again.steps == found["steps"] and {path.name for path in tmp_path.iterdir()} == {
        "found.json",
        "onnx",
        "steps.json",
    }
    quantize_full.show(found)


def step(**numbers: Any) -> dict[str, Any]:
    return {"peak_gb": 1.0, **numbers}


def test_what_misses_the_limits() -> None:
    slow = {"ratio": {"processor": {"median": float("nan")}}}
    bad = {
        "w8: compress": step(mib=501.0),
        "w8: race": step(**slow),
        "w4: compress": step(mib=360, peak_gb=14.1),
    }
    assert len(quantize_full.problems(bad)) == 3
    good = {"w8: compress": step(mib=500), "w8: race": step(ratio={"processor": {"median": 1.5}})}
    assert quantize_full.problems(good) == []
