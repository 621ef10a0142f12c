"""Export: a checkpoint becomes a bundle that has been measured against it, or nothing at all."""

from __future__ import annotations

import getpass
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from commands import ROOT, sam3_edge
from onnx import external_data_helper
from tiny_bundle import snapshot
from tiny_export import CONFIG, PHRASES, job, make_checkpoint

from sam3_edge import Bundle, load
from sam3_edge.bundle import verify
from sam3_edge.concepts import read_concepts
from sam3_edge.errors import UsageError
from sam3_edge.export import pipeline
from sam3_edge.export.examples import examples
from sam3_edge.export.job import settle
from sam3_edge.export.to_onnx import GATES
from sam3_edge.golden import read_golden, replay
from sam3_edge.manifest import MANIFEST
from sam3_edge.spec import graph_specs
from sam3_edge.tokenizer import Tokenizer

GRAPHS = tuple(graph_specs(CONFIG))


def read(bundle: Path, name: str) -> onnx.ModelProto:
    """A graph without its weights."""
    return onnx.load(bundle / "graphs" / name / "model.onnx", load_external_data=False)


def test_the_bundle_is_sound_and_says_what_it_is(exported: Path, tiny_checkpoint: Path) -> None:
    bundle = verify(exported)
    assert tuple(bundle.specs) == GRAPHS and bundle.config == CONFIG
    assert (bundle.target, bundle.scheme, bundle.licence) == ("onnx", "fp32", "Apache-2.0")
    assert bundle.source.name == tiny_checkpoint.name and bundle.source.revision is None
    weights = tiny_checkpoint / "model.safetensors"
    assert bundle.source.sha256 == os.popen(f"sha256sum {weights}").read().split()[0]
    assert bundle.tools["torch"] == torch.__version__ and {"onnx", "onnxscript"} <= bundle.tools.keys()
    assert (exported / "tokenizer/merges.txt").read_bytes() == (tiny_checkpoint / "merges.txt").read_bytes()
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]


def test_the_receipt_covers_every_output_and_is_within_the_gate(exported: Path) -> None:
    report = json.loads((exported / "report.json").read_bytes())["parity"]
    measured = {(row["graph"], row["output"]): row["relative"] for row in report["outputs"]}
    specs = graph_specs(CONFIG)
    assert set(measured) == {(name, t.name) for name, spec in specs.items() for t in spec.outputs}
    assert all(0 <= relative <= 1e-4 for relative in measured.values())
    assert any(relative > 0 for relative in measured.values())  # two implementations were compared, not one
    answers = report["answers"]
    assert (
        answers["objects"] >= 5 and answers["missing"] == answers["extra"] == 0 and answers["min_iou"] > 0.99
    )
    assert report["gate"] == {"relative": 1e-4, "mean_iou": 0.99, "min_iou": 0.99}
    summary = json.loads((exported / MANIFEST).read_bytes())["report"]
    assert tuple(summary["relative_error"]) == tuple(sorted(GRAPHS)) and summary["answers"] == answers
    for name, worst in summary["relative_error"].items():
        assert worst == max(relative for (graph, _), relative in measured.items() if graph == name)


def test_the_bundle_answers_as_the_model_did(exported: Path) -> None:
    cases = read_golden(Bundle.open(exported))
    assert (
        len(cases) == len(examples()) and sum(len(answer) for case in cases for answer in case.answers) >= 5
    )
    with load(exported, threads=1) as segmenter:
        agreement = replay(segmenter, cases)
    assert agreement.missing == agreement.extra == 0 and agreement.pixels <= 4


def test_exporting_again_elsewhere_gives_the_same_bytes(
    exported: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """By another process with other hashes, from another folder, through the command line."""
    moved = shutil.copytree(tiny_checkpoint, tmp_path / "elsewhere" / tiny_checkpoint.name)
    words = ("export", "--checkpoint", moved, "--target", "onnx", "--threads", "1", "-o", "twice", "--json")
    done = sam3_edge(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert snapshot(tmp_path / "twice") == snapshot(exported)
    said = json.loads(done.stdout)
    assert said["hash"] == Bundle.open(exported).hash and len(said["parity"]["outputs"]) == 27
    assert "\x1b" not in done.stderr + done.stdout
    for text in (
        "export: lowering masks",
        "backbone.trunk_feature",
        "whole answers: ",
        f"hash {said['hash']}",
    ):
        assert text in done.stderr


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_hold_nothing_of_the_machine(exported: Path, name: str) -> None:
    data = b"".join(path.read_bytes() for path in (exported / "graphs" / name).iterdir())
    forbidden = ["site-packages", 'File "', ".py", "stack_trace", "/home", "/tmp", "pkg.torch", "namespace"]
    forbidden += [str(ROOT), str(exported.parent), f"/{getpass.getuser()}"]
    for word in forbidden:
        assert word.encode() not in data, word


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_are_as_specified(exported: Path, name: str) -> None:
    model, spec = read(exported, name), graph_specs(CONFIG)[name]
    onnx.checker.check_model(exported / "graphs" / name / "model.onnx")
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 20)]
    for nodes, tensors in ((model.graph.input, spec.inputs), (model.graph.output, spec.outputs)):
        assert [node.name for node in nodes] == [tensor.name for tensor in tensors]
        for node, tensor in zip(nodes, tensors, strict=True):
            kind = node.type.tensor_type
            assert tuple(side.dim_param or side.dim_value for side in kind.shape.dim) == tensor.shape
            assert onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type) == np.dtype(tensor.dtype)
    assert model.graph.name == name


@pytest.mark.parametrize("name", GRAPHS)
def test_weights_lie_beside_the_graph_in_one_file(exported: Path, name: str) -> None:
    model = read(exported, name)
    outside = [t for t in model.graph.initializer if external_data_helper.uses_external_data(t)]
    assert outside and {external_data_helper.ExternalDataInfo(t).location for t in outside} == {
        "model.onnx.data"
    }
    assert sorted(path.name for path in (exported / "graphs" / name).iterdir()) == [
        "model.onnx",
        "model.onnx.data",
    ]
    big = [t.name for t in model.graph.initializer if len(t.raw_data) > 4096]
    assert not big


def test_nodes_are_called_after_their_modules(exported: Path, tiny_checkpoint: Path) -> None:
    modules = {name for name, _ in pipeline.load(job(tiny_checkpoint, Path())).model.named_modules()}
    for graph in GRAPHS:
        names = [node.name for node in read(exported, graph).graph.node]
        assert len(names) == len(set(names)) and all(names)
        for name in names:
            scope, _, operator = name.rpartition("/")
            # The tracker's weights are shared by its graphs, so its nodes are called from the model down.
            path = scope if scope.startswith("tracker.") or graph not in modules else f"{graph}.{scope}"
            assert path.rstrip(".") in modules, name
            assert operator.partition("_")[0].isalpha() and operator[0].isupper(), name
    weights = {tensor.name for tensor in read(exported, "backbone").graph.initializer}
    assert "blocks.0.attention.qkv.bias" in weights or any("attention" in weight for weight in weights)


def test_no_constant_is_left_to_fold(exported: Path) -> None:
    """But the number of objects, which graphs of the tracker read off their inputs."""
    for graph, spec in graph_specs(CONFIG).items():
        counted = any(tensor.per_object for tensor in spec.inputs)
        known = {"Constant"} if counted else {"Constant", "Shape", "ConstantOfShape"}
        assert not [node.name for node in read(exported, graph).graph.node if node.op_type in known]


def test_half_precision_halves_the_weights_and_passes(exported: Path, exported_half: Path) -> None:
    bundle = verify(exported_half)
    assert bundle.scheme == "fp16"
    for name in bundle.graphs:
        full, half = (b / "graphs" / name / "model.onnx.data" for b in (exported, exported_half))
        model = read(exported_half, name)
        kept = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
        assert all(np.prod(t.dims) < 1024 for t in kept)
        small = 4 * sum(int(np.prod(t.dims)) for t in kept)  # tiny graphs have much that is not worth halving
        wanted = (full.stat().st_size + small) / 2
        assert 0.9 * wanted < half.stat().st_size < 1.12 * wanted, name
        onnx.checker.check_model(exported_half / "graphs" / name / "model.onnx")
    report = json.loads((exported_half / "report.json").read_bytes())["parity"]
    relative = [row["relative"] for row in report["outputs"]]
    # Weights that were rounded show, and no more than fp16's rounding of 2^-11 does over two layers.
    assert 1e-5 < max(relative) < 5e-3
    assert report["gate"]["relative"] == GATES["fp16"].relative and report["answers"]["mean_iou"] >= 0.995


def test_without_text_only_the_packed_phrases_can_be_asked(exported: Path, exported_half: Path) -> None:
    bundle = Bundle.open(exported_half)
    assert "text" not in bundle.graphs and not (exported_half / "graphs/text").exists()
    pack = read_concepts(bundle)
    assert set(pack) == {*PHRASES, "visual"}
    picture, concepts = examples()[0]
    with load(exported, threads=1) as whole:
        for phrase in pack:
            tokens, valid = whole.phrases.prompt(phrase)
            assert np.array_equal(pack[phrase][1], valid)
            assert np.abs(pack[phrase][0] - tokens).max() < 1e-4
    with load(exported_half, threads=1) as segmenter:
        asked = segmenter.segment(picture, ["blue star", "RED SHAPE", concepts[3]])
        assert [str(found.concept) for found in asked] == ["blue star", "RED SHAPE", "visual"]
        with pytest.raises(UsageError) as caught:
            segmenter.segment(picture, "purple cross")
    assert "'purple cross'" in str(caught.value) and "'Blue  star', 'red shape', 'visual'" in str(
        caught.value
    )
    assert "--concepts" in str(caught.value)


def test_a_larger_picture_of_the_same_weights(tiny_checkpoint: Path, tmp_path: Path) -> None:
    plan = pipeline.plan(job(tiny_checkpoint, tmp_path / "b", image_size=84, max_boxes=5))
    assert plan["config"] == {**CONFIG.to_json(), "image_size": 84, "max_boxes": 5}
    assert plan["graphs"]["exemplar"]["inputs"][1]["shape"] == (1, 5, 4)
    assert json.loads(json.dumps(plan))["output"] == str(tmp_path / "b") and not (tmp_path / "b").exists()


def test_names_of_outputs() -> None:
    wanted: dict[str, dict[str, Any]] = {
        "shapes-fp32-onnx": {},
        "shapes-r448-fp16-onnx": {"image_size": 448, "scheme": "fp16"},
        "sam3-fp32-onnx": {"checkpoint": "facebook/sam3"},
        "sam3-r672-fp32-onnx": {"checkpoint": "weights/sam3.pt", "image_size": 672},
    }
    for name, options in wanted.items():
        given: dict[str, Any] = {"output": None, "target": "onnx", **options}
        assert str(settle(pipeline.Job(**given)).output) == name


def test_weights_of_sam_3_carry_its_licence(tmp_path: Path, tiny_checkpoint: Path) -> None:
    found = pipeline.load(job(tiny_checkpoint, tmp_path))
    pipeline.write_licence(tmp_path, found)
    assert snapshot(tmp_path) == {}
    pipeline.write_licence(tmp_path, replace(found, licence="SAM"))
    assert "SAM License" in (tmp_path / "LICENSE-SAM").read_text()


def test_the_tiny_checkpoint_is_reproducible(tmp_path: Path, tiny_checkpoint: Path) -> None:
    assert snapshot(make_checkpoint(tmp_path / "again")) == snapshot(tiny_checkpoint)
    assert Tokenizer.read(tiny_checkpoint / "merges.txt").vocab_size == CONFIG.text_vocab
