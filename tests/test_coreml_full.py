"""`make coreml-full` on two graphs of a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_export import CONFIG

from sam3_edge.benchmarks import coreml_full
from sam3_edge.spec import GraphSpec, ModelConfig, graph_specs


def two(config: ModelConfig) -> dict[str, GraphSpec]:
    specs = graph_specs(config)
    return {name: specs[name] for name in ("backbone", "detector_features")}


def test_a_tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreml_full, "graph_specs", two)
    place, output = tmp_path / "scratch", tmp_path / "found.json"
    place.mkdir()
    found = coreml_full.convert(CONFIG, place, coreml_full.Record(output))
    assert not list(place.iterdir()) and set(found["graphs"]) == set(two(CONFIG))
    kept = json.loads(output.read_bytes())
    assert kept["verdict"] == "not finished" and set(kept["sizes"][0]["graphs"]) == set(two(CONFIG))
    backbone, features = found["graphs"].values()
    relative = backbone["relative"]
    assert 0 < relative["fp32_arithmetic"] <= relative["rounded"] <= 5e-3 and "relative" not in features
    assert backbone["megabytes"] > 0 and features["functions"][0]["operations"] > 3
    assert coreml_full.problems(found) == []
    assert features["functions"][0]["least_megabytes"] > 0 and features["functions"][0]["neural_engine"]
    document = coreml_full.Record(output).keep(found, finished=True)
    assert document["verdict"] == "pass" and document["machine"]["coremltools"]
    coreml_full.show(document)


def test_what_misses_the_limits() -> None:
    found = {"peak_gb": 13.0, "graphs": {"backbone": {"relative": {"rounded": 0.1}}, "text": {}}}
    peak, backbone = sorted(coreml_full.problems(found), reverse=True)
    assert peak == "the peak is 13.0 GB, want at most 12 GB"
    assert backbone == "backbone differs by 1.00e-01 (rounded), want at most 5e-03"
