"""Core ML packages: the same every time, of every system and precision, for one object at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import ROOT
from coreml_bundles import GATE, asked, relative, remade
from tiny_bundle import snapshot
from tiny_export import CONFIG, job, tiny_model

from sam3_edge import Bundle
from sam3_edge.errors import UsageError
from sam3_edge.export import pipeline, to_coreml
from sam3_edge.export.mil_evaluate import Evaluator
from sam3_edge.export.mil_program import read_program
from sam3_edge.export.mil_session import one_object
from sam3_edge.export.model import Sam3, fold
from sam3_edge.spec import TensorSpec, graph_specs

TRACKER = ("tracker_features", "tracker_init", "tracker_step", "tracker_refine", "memorize")


@pytest.fixture(scope="module")
def folded() -> Sam3:
    """Sure that its objects are there."""
    model = tiny_model()
    bias = model.tracker.decoder.score_head.layers[2].bias
    assert isinstance(bias, torch.Tensor)
    bias.data.fill_(4.0)
    return fold(model)


@pytest.mark.parametrize("name", TRACKER)
def test_the_tracker_is_for_one_object(folded: Sam3, tmp_path: Path, name: str) -> None:
    spec, call = graph_specs(CONFIG)[name], asked(folded, name, objects=2)
    package = tmp_path / to_coreml.lower(folded.graph(name), spec, tmp_path)
    evaluator = Evaluator.of(read_program(package).function(), rounded=True)
    feeds = {key: torch.from_numpy(value) for key, value in call.feeds.items()}
    for row in range(2):
        for output, got in evaluator.run(one_object(spec, feeds, row)).items():
            (tensor,) = (t for t in spec.outputs if t.name == output)
            wanted = call.answers[output][row : row + 1] if tensor.per_object else call.answers[output]
            assert got.shape == wanted.shape == tensor.sized()
            error = np.linalg.norm(got.numpy() - wanted) / np.linalg.norm(wanted)
            assert 0 < error <= GATE.relative, output


def test_objects_are_run_one_by_one(exported_coreml: Path) -> None:
    bundle = Bundle.open(exported_coreml)
    session, spec = to_coreml.open_session(bundle), bundle.specs["memorize"]
    rng = np.random.default_rng(0)
    feeds = {t.name: rng.random(t.sized(2), np.float32) for t in spec.inputs}
    (both,) = session.run("memorize", feeds).values()
    for row in range(2):
        one = {t.name: feeds[t.name][row : row + 1] if t.per_object else feeds[t.name] for t in spec.inputs}
        assert np.array_equal(session.run("memorize", one)["memory"], both[row : row + 1])


def test_a_package_is_the_same_in_another_process(exported_coreml: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from tiny_export import CONFIG, tiny_model\n"
        "from sam3_edge.export import to_coreml\n"
        "from sam3_edge.export.model import fold\n"
        "from sam3_edge.spec import graph_specs\n"
        "to_coreml.lower(fold(tiny_model()).graph('text'), graph_specs(CONFIG)['text'], Path(sys.argv[1]))"
    )
    words = [sys.executable, "-c", code, str(tmp_path), str(ROOT / "tests")]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stdout + done.stderr
    assert snapshot(tmp_path) == snapshot(exported_coreml / "graphs" / "text")


def test_packages_hold_nothing_of_the_machine(exported_coreml: Path) -> None:
    files = [path for path in (exported_coreml / "graphs").rglob("*") if path.is_file()]
    names = {path.relative_to(exported_coreml).parts[3:] for path in files}
    content = ("Data", "com.apple.CoreML")
    assert names == {("Manifest.json",), (*content, "model.mlmodel"), (*content, "weights", "weight.bin")}
    for path in files:
        data = path.read_bytes()
        for word in ("site-packages", ".py", "/tmp", "/home", "conversion_date", str(ROOT)):
            assert word.encode() not in data, (path, word)


def test_features_pass_in_half_precision_and_places_do_not() -> None:
    def dtype(name: str, kind: str = "float32", *, half: bool = True) -> Any:
        return to_coreml.edge(TensorSpec(name, (1, 4), kind), half=half).dtype.__name__

    assert dtype("features_1x") == dtype("queries") == "fp16"
    assert dtype("boxes") == dtype("points") == dtype("logits") == dtype("queries", half=False) == "fp32"
    assert dtype("labels", "int32").startswith("int")


@pytest.mark.parametrize(
    ("options", "limit"),
    [({"ios": 17}, 2e-3), ({"scheme": "fp32"}, 1e-5), ({"scheme": "fp32", "ios": 17}, 1e-5)],
)
def test_older_systems_and_full_precision(
    folded: Sam3, exported_coreml: Path, tmp_path: Path, options: dict[str, Any], limit: float
) -> None:
    bundle = remade(exported_coreml, tmp_path / "b", folded, "text", **options)
    assert relative(bundle, asked(folded, "text")) <= limit
    kinds = {o.kind for o in read_program(bundle.graph("text")).function().operations}
    assert ("scaled_dot_product_attention" in kinds) == ("ios" not in options)


def test_wrong_requests(folded: Sam3, tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="iOS 16: want 17 or 18"):
        to_coreml.lower(folded.graph("text"), graph_specs(CONFIG)["text"], tmp_path, ios=16)
    with pytest.raises(UsageError, match="target onnx has no setting 'ios'"):
        pipeline.export(job(tiny_checkpoint, tmp_path / "b", settings={"ios": 18}))
