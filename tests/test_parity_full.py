"""`make parity-full` on a tiny model, and the committed result of the full one."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from scenes import CONFIG as TRACKING

from sam3_edge.alone import alone
from sam3_edge.benchmarks import parity_full
from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError, ResourceError
from sam3_edge.export import pipeline
from sam3_edge.spec import ModelConfig, graph_specs

CONFIG = replace(TRACKING, text_layers=1, decoder_layers=1)  # lowering is what takes the time
COMMITTED = Path(__file__).parents[1] / "benchmarks" / "results" / "parity_full.json"
STAGES = ("loading the checkpoint", "running PyTorch", "lowering backbone", "comparing with PyTorch")


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("scratch")
    kept = tmp_path_factory.mktemp("kept")
    found = parity_full.report([CONFIG], folder, kept)
    assert not list(folder.iterdir()), "scratch files stay"
    assert Bundle.open(kept / f"random-r{CONFIG.image_size}").config == CONFIG
    written: dict[str, Any] = json.loads(json.dumps(found))
    return written


def check_size(size: dict[str, Any], config: ModelConfig) -> None:
    """What must hold of every size that passes."""
    assert ModelConfig.from_json(size["config"]) == config
    assert size["image_size"] == config.image_size and size["failures"] == []
    assert size["graphs"].keys() == graph_specs(config).keys()
    for graph in size["graphs"].values():
        assert 0 < graph["relative"] <= 1e-4 and graph["largest"] > 0
        assert graph["megabytes"] > 0 and graph["nodes"] > 5
    assert 0.1 < size["peak_gb"] <= 12
    assert set(STAGES) < size["stages"].keys()
    peaks = [stage["peak_gb"] for stage in size["stages"].values()]
    assert peaks == sorted(peaks) and peaks[-1] == size["peak_gb"]
    assert size["answers"]["missing"] == size["answers"]["extra"] == 0
    # The trunk neither dies nor explodes, its tokens differ, and attention chooses without copying.
    low, high = size["weights"]["attention_logit_std"]
    assert 0.1 < low <= high < 3
    assert 0.3 < size["weights"]["trunk_feature_std"] < 5
    assert size["weights"]["between_tokens_std"] > size["weights"]["trunk_feature_std"] / 6


def test_a_tiny_model(document: dict[str, Any]) -> None:
    assert document["verdict"] == "pass"
    (size,) = document["sizes"]
    check_size(size, CONFIG)
    assert {"processor", "cores", "memory_gb", "python", "torch", "onnx", "onnxruntime", "commit"} <= (
        document["machine"].keys()
    )


def test_the_committed_result() -> None:
    """Made by `make parity-full`. The model is full-size; what is older than the tracker is without one."""
    document = json.loads(COMMITTED.read_text())
    assert document["verdict"] == "pass"
    assert [size["image_size"] for size in document["sizes"]] == [336, 1008]
    for size in document["sizes"]:
        config = ModelConfig.from_json(size["config"])
        whole = ModelConfig()
        check_size(size, config)
        assert replace(config, image_size=whole.image_size, memory_layers=whole.memory_layers) == whole
        assert size["parameters"] > 8e8
        assert size["answers"]["objects"] > 0


@pytest.mark.parametrize(
    ("peak", "relative", "facts"),
    [
        (12.0, 1e-4, []),
        (12.01, 1e-4, ["the peak is 12.01 GB"]),
        (1.0, 1.1e-4, ["masks differs by 1.10e-04"]),
        (1.0, float("nan"), ["masks differs by nan"]),
    ],
)
def test_limits(peak: float, relative: float, facts: list[str]) -> None:
    found = {"peak_gb": peak, "graphs": {"text": {"relative": 0.0}, "masks": {"relative": relative}}}
    problems = parity_full.problems(found)
    assert len(problems) == len(facts)
    assert all(fact in problem for fact, problem in zip(facts, problems, strict=True))


def test_an_export_that_is_refused_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise CheckError("it is not the model")

    monkeypatch.setattr(pipeline, "export", refuse)
    found = parity_full.export(tmp_path / "model.safetensors", tmp_path / "bundle")
    assert found["failures"] == ["it is not the model"] and found["graphs"] == {}


def test_a_killed_process_is_an_error() -> None:
    with pytest.raises(ResourceError, match="was killed: free some memory"):
        alone(os._exit, 9)


@pytest.mark.parametrize(("verdict", "code"), [("pass", 0), ("fail", 1)])
def test_command(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: str, code: int
) -> None:
    asked: list[int] = []

    def report(configs: list[ModelConfig], folder: Path, kept: Path | None) -> dict[str, Any]:
        assert kept is None
        asked.extend(config.image_size for config in configs)
        failures = ["too large"] if verdict == "fail" else []
        return document | {"verdict": verdict, "sizes": [document["sizes"][0] | {"failures": failures}]}

    monkeypatch.setattr(parity_full, "report", report)
    place = tmp_path / "results" / "parity.json"
    done = CliRunner().invoke(parity_full.main, ["--image-size", "336", "--output", str(place)])
    assert done.exit_code == code, done.output
    assert asked == [336] and json.loads(place.read_text())["verdict"] == verdict
    assert "backbone" in done.stderr and ("too large" in done.stderr) == (verdict == "fail")
