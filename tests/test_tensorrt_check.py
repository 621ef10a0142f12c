"""The static gate: TensorRT's own parser and builder on every graph, without a GPU; and the way to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from commands import ROOT, Command
from tiny_export import CONFIG, copying
from torch import nn
from typed_graphs import builtin_fp32, typed_from

from sam3_edge import Bundle, registry
from sam3_edge.benchmarks import tensorrt_fit
from sam3_edge.builtin import builtin_bundle
from sam3_edge.engines.rungs import RUNGS
from sam3_edge.errors import BackendError, CheckError, UsageError
from sam3_edge.export import tensorrt_check, to_tensorrt
from sam3_edge.export.eager import Call
from sam3_edge.export.rounding import ranges
from sam3_edge.golden import read_golden, replay
from sam3_edge.phrases import open_phrases
from sam3_edge.segmenter import Segmenter
from sam3_edge.spec import ModelConfig, graph_specs


def test_export_builds_every_graph_and_says_so(
    exported: Path, tiny_checkpoint: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.load("target", "onnx"), "lower", copying(exported))
    words = ("--checkpoint", tiny_checkpoint, "--target", "trt", "--threads", "1", "-o", tmp_path / "b")
    done = command("export", *words)
    assert done.code == 0 and "export: examining the graphs" in done.err
    bundle = Bundle.open(tmp_path / "b")
    assert bundle.target == "tensorrt" and bundle.scheme == "fp16"
    assert set(bundle.graphs) == set(graph_specs(bundle.config))
    report = json.loads(bundle.file("report.json").read_bytes())
    assert report["parity"]["gate"]["relative"] == 2e-2
    assert report["tensorrt"]["builder"] == tensorrt_check.builder_version()
    for row in report["tensorrt"]["graphs"].values():
        ((built,), parsed) = row["built"], row["parsed"]
        assert built["layers"] > 10 and built["engine_bytes"] > 10_000
        assert [other["file"] for other in parsed] == [rung.file for rung in RUNGS[1:]]


def test_what_the_builder_refuses_is_no_bundle(exported: Path, tmp_path: Path) -> None:
    graph = typed_from(exported, tmp_path) / "graphs" / "text"
    model = ir.load(graph / "model.onnx")
    next(node for node in model.graph if node.op_type == "Softmax").op_type = "MelWeightMatrix"
    ir.save(model, graph / "model.onnx")
    with pytest.raises(CheckError, match=r"tensorrt-rtx .* does not parse"):
        tensorrt_check.check([graph / "model.onnx"], build=True)


def test_mixed_types_do_not_pass(exported: Path, tmp_path: Path) -> None:
    """The network is strongly typed: a cast that is missing is an error, not a choice of the builder's."""
    graph = typed_from(exported, tmp_path) / "graphs" / "text"
    model = ir.load(graph / "model.onnx")
    cast = next(node for node in model.graph if str(node.name).endswith("LayerNormalization/to_float16"))
    source = cast.inputs[0]
    assert source is not None
    ir.convenience.replace_all_uses_with(cast.outputs[0], source)
    model.graph.remove(cast, safe=True)
    ir.save(model, graph / "model.onnx")
    with pytest.raises(CheckError, match="tensorrt-rtx"):
        tensorrt_check.check([graph / "model.onnx"], build=True)


def test_without_the_builder(monkeypatch: pytest.MonkeyPatch, exported: Path) -> None:
    monkeypatch.setattr(tensorrt_check, "PACKAGE", "no-such-package")
    assert tensorrt_check.builder_version() is None
    with pytest.raises(BackendError, match=r"pip install 'sam3-edge\[tensorrt-check\]'"):
        tensorrt_check.check([exported / "graphs/text/model.onnx"], build=False)


def test_the_built_in_model_answers_alike_in_fp16(tmp_path: Path) -> None:
    """Every fp16 value rounded, as hardware does: the golden answers stay within the gate."""
    (tmp_path / "full").mkdir()
    (tmp_path / "typed").mkdir()
    typed_from(builtin_fp32(tmp_path / "full"), tmp_path / "typed")
    bundle = Bundle.open(builtin_bundle())

    class Typed:
        path, config = tmp_path / "typed", bundle.config

        def graph(self, name: str) -> Path:
            return self.path / "graphs" / name / "model.onnx"

    typed: Any = Typed()  # all that a session asks of a bundle
    session = to_tensorrt.open_session(typed, threads=1)
    with Segmenter(bundle.config, session, open_phrases(bundle, session)) as segmenter:
        agreement = replay(segmenter, read_golden(bundle))
    gate = to_tensorrt.GATES["fp16"]
    assert agreement.objects >= 10 and agreement.missing == agreement.extra == 0
    assert agreement.mean_iou is not None and agreement.mean_iou >= gate.mean_iou
    assert agreement.min_iou is not None and agreement.min_iou >= gate.min_iou
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("tmp")]  # the wrapped copies


def test_values_that_fp16_does_not_hold_are_named(exported: Path, tmp_path: Path) -> None:
    """A weight that makes a product of 30 000: no room is left for other pictures."""
    graph = typed_from(exported, tmp_path) / "graphs" / "text"
    model = ir.load(graph / "model.onnx")
    linear = next(node for node in model.graph if str(node.name).endswith("mlp.layers.0/MatMul"))
    weight = linear.inputs[1]
    assert weight is not None and weight.const_value is not None
    loud = weight.const_value.numpy() * np.float16(2e4)
    weight.const_value = ir.tensor(loud, name=weight.name)
    ir.save(model, graph / "model.onnx")
    ids = {"token_ids": np.arange(8, dtype=np.int32)[None]}
    with pytest.raises(CheckError, match=r"blocks\.0\.mlp\.layers.* reaches .*, and fp16 ends at 65504"):
        ranges(graph / "model.onnx", [Call("text", ids, {})])


def test_the_committed_judgement_is_of_every_graph() -> None:
    document = json.loads((ROOT / "benchmarks/results/tensorrt_builtin.json").read_bytes())
    assert document["verdict"] == "pass" and len(document["points_lost"]) == 4
    assert all(abs(points) <= 0.5 for points in document["points_lost"].values())
    graphs = document["tensorrt"]["graphs"]
    assert {"backbone", "detector_features", "text", "exemplar", "detector", "masks"} <= set(graphs)
    assert all(row["built"][0]["engine_bytes"] > 0 and row["floor"] == "10.3" for row in graphs.values())


def test_the_table_of_boards_is_the_committed_one() -> None:
    document = json.loads((ROOT / "benchmarks/results/tensorrt_fit.json").read_bytes())
    assert tensorrt_fit.markdown(document) in (ROOT / "docs/jetson.md").read_text()
    for size in document["sizes"].values():
        assert {row["graph"] for row in size["schemes"]["fp16"]["graphs"]} == set(graph_specs(ModelConfig()))


def test_boards_are_for_tensorrt(command: Command, tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = ("export", "--checkpoint", tiny_checkpoint, "--dry-run", "-o", tmp_path / "b", "--board", "64GB")
    assert command(*words, "--target", "tensorrt").document["scheme"] == "fp16"
    done = command(*words, "--target", "onnx")
    assert done.code == 2 and "target onnx has no setting 'board'" in done.error
    assert command(*words, "--target", "tensorrt", "--board", "9GB").code == 2
    spec = graph_specs(CONFIG)["text"]
    with pytest.raises(UsageError, match="no board '9GB': choose from 8GB, 16GB, 64GB"):
        to_tensorrt.lower(nn.Identity(), spec, tmp_path, board="9GB")
