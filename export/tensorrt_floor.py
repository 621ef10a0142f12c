"""What the oldest TensorRT in use can parse: 10.3, which JetPack 6 has. By a list, for want of its builder.

The list is that of the parser's release 9.2 (github.com/onnx/onnx-tensorrt, docs/operators.md), which 10.3
extends, restricted to what lowered graphs could hold; `Gelu` came with opset 20, which 10.0 reads.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

OPSET = 20
MOVING = ("Cast", "Concat", "ConstantOfShape", "Expand", "Gather", "Identity", "Pad", "Reshape", "Resize")
SHAPING = ("Range", "Shape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where")
PRODUCTS = (
    "Conv",
    "ConvTranspose",
    "Gemm",
    "InstanceNormalization",
    "LayerNormalization",
    "MatMul",
    "Softmax",
)
ARITHMETIC = ("Abs", "Add", "Clip", "Div", "Equal", "Max", "Min", "Mul", "Neg", "Pow", "Sign", "Sqrt", "Sub")
FUNCTIONS = ("Cos", "Erf", "Exp", "Gelu", "Log", "Relu", "Sigmoid", "Sin")
REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceSum")
OPERATORS = frozenset((*MOVING, *SHAPING, *PRODUCTS, *ARITHMETIC, *FUNCTIONS, *REDUCTIONS))
# Inputs that must be known when the engine is built: operator and place of its `axes`.
KNOWN = {"ReduceMax": 1, "ReduceMean": 1, "ReduceSum": 1, "Slice": 3, "Squeeze": 1, "Unsqueeze": 1}
RESIZES = {
    "mode": {"nearest", "linear"},
    "coordinate_transformation_mode": {"half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"},
    "nearest_mode": {"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"},
}


def above_floor(path: Path) -> list[str]:
    """What TensorRT 10.3 would not parse of the graph at `path`, in words; empty if nothing."""
    model = ir.load(path)
    bad = []
    if model.graph.opset_imports != {"": OPSET}:
        bad.append(f"opsets {dict(model.graph.opset_imports)}, want {OPSET} of the default domain only")
    for node in model.graph:
        bad += [f"{node.name}: {fact}" for fact in problems(node)]
    return bad


def problems(node: ir.Node) -> list[str]:
    """What is wrong with one node."""
    kind, inputs = node.op_type, node.inputs
    if kind not in OPERATORS:
        return [f"operator {kind} is not on the list"]
    bad = []
    place = KNOWN.get(kind)
    axes = inputs[place] if place is not None and len(inputs) > place else None
    if axes is not None and axes.const_value is None:
        bad.append(f"the axes of {kind} are computed")
    if kind == "Pad" and len(inputs) > 3 and inputs[3] is not None:
        bad.append("Pad with axes, which came with 10.4")
    if kind == "LayerNormalization" and len(node.outputs) > 1:
        bad.append("LayerNormalization with more than one output")
    if kind == "Resize":
        used = {name: node.attributes[name].as_string() for name in RESIZES if name in node.attributes}
        bad += [f"Resize with {name} {value}" for name, value in used.items() if value not in RESIZES[name]]
    return bad
