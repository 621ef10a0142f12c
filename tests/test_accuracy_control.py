"""`quantize --accuracy-control` takes back what harms until the gate is passed, and says what."""

from __future__ import annotations

import json
from pathlib import Path

import float_bundle
import onnx
from commands import Command

from sam3_edge.bundle import Bundle

SMALL = ("--gate-pictures", "4", "--gate-clips", "0", "--threads", "1")
OTHERS = ("text", "detector", "detector_features", "masks", "tracker_features", "exemplar", "memorize")
# Without SmoothQuant the loud channel stays in the activations, whose one scale rounds the others away. First
# and last block, which are as of `w8` otherwise and not up to the control, would use some of the gate before.
EDGES = ("--keep", "backbone.blocks.0=fp32", "--keep", "backbone.blocks.3=fp32")
WORDS = ("--scheme", "w8a8", "--set", "smooth=-1", *EDGES)


def test_what_harms_is_taken_back(tmp_path: Path, command: Command) -> None:
    whole = float_bundle.make_fragile(tmp_path / "whole")
    keep = [word for name in OTHERS for word in ("--keep", f"{name}=fp32")]
    words = ("quantize", whole, *WORDS, *keep, *SMALL)
    assert command(*words, "-o", tmp_path / "blind").code == 5

    done = command(*words, "--accuracy-control", "-o", tmp_path / "watched", "--json")
    assert done.code == 0, done.err
    bundle = Bundle.open(tmp_path / "watched")
    graph = json.loads(bundle.file("report.json").read_bytes())["quantization"]["graphs"]["backbone"]
    taken = graph["skipped"]["accuracy control took it back"]
    # Some and not all. How many depends on the range that the processor leaves to int8 weights.
    assert taken > 0 and graph["compressed"]["MatMul int8"] > 0
    assert f"{float_bundle.FRAGILE}.attention.out" in floats(bundle)


def floats(bundle: Bundle) -> str:
    """Names of the backbone's products whose weight is fp32."""
    model = onnx.load(str(bundle.graph("backbone")), load_external_data=False)
    weights = {
        tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT
    }
    return " ".join(
        node.name for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights
    )


def test_only_calibrated_schemes_have_it(tmp_path: Path, command: Command) -> None:
    whole = float_bundle.make(tmp_path / "whole")
    done = command("quantize", whole, "--scheme", "w8", "--accuracy-control", "-o", tmp_path / "out", *SMALL)
    assert done.code == 2 and "for schemes that are calibrated (qdq_int8, w8a8)" in done.error
