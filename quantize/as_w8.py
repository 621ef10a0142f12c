"""Scheme `w8`: int8 weights. Products take their other side to uint8 as they run; others unpack at load.

The arithmetic of MatMul is then in integers: 1.7 times the speed of fp32 on a processor with VNNI. A MatMul
with a DequantizeLinear in front would run at 0.85 of it: ONNX Runtime makes an fp32 Gemm of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import onnx_ir as ir

from sam3_edge.machine.vectors import adds_wide

from .feeds import Feeds
from .keep import TABLE, Keep, Row
from .onnx_file import constant, rewriting, succeed
from .onnx_weights import Weight, rewrite_weights, rounded, store
from .tally import Tally

TARGETS = frozenset({"onnx"})
ABOUT = "int8 weights, MatMul in integers with activations rounded as they come"
NEEDS = "nothing"
ROWS = TABLE


def largest() -> int:
    """The largest integer of a weight that this processor multiplies rightly."""
    return 127 if adds_wide() else 64


@dataclass(frozen=True)
class Config:
    """`least`: numbers that a weight must have. `limit`: the largest integer of a weight.

    127 needs a processor that adds products in 32 bits (VNNI, ARM's dot product); older ones add pairs in 16
    bits and saturate: 64 is right there, and what is chosen where this processor is one of them.
    """

    least: int = 1024
    limit: int = field(default_factory=largest)


def compress(
    path: Path, config: Config | None = None, *, keep: Keep | None = None, feeds: Sequence[Feeds] = ()
) -> Tally:
    """Rewrite the ONNX file at `path` in place."""
    config = config or Config()
    with rewriting(path) as model:
        return rewrite_weights(
            model.graph, keep or Keep(), config.least, partial(multiply, limit=config.limit), store
        )


def multiply(graph: ir.Graph, weight: Weight, row: Row | None, *, limit: int | None = None) -> str:
    """Each MatMul of a weight as DynamicQuantizeLinear and MatMulInteger, which ONNX Runtime fuses."""
    whole, scale = rounded(weight.numbers, weight.axis, limit or largest())
    name = str(weight.value.name)
    packed, scales = constant(graph, f"{name}/int8", whole), constant(graph, f"{name}/scale", scale)
    for node in weight.nodes:
        left = node.inputs[0]
        assert left is not None
        taken, step, zero = rounding_of(graph, node, left)
        product = ir.node("MatMulInteger", [taken, packed, zero])
        cast = ir.node("Cast", [product.outputs[0]], {"to": ir.DataType.FLOAT})
        steps = ir.node("Mul", [step, scales])
        back = ir.node("Mul", [cast.outputs[0], steps.outputs[0]])
        for part, made in (("Integer", product), ("Cast", cast), ("steps", steps), ("Mul", back)):
            made.name = made.outputs[0].name = f"{node.name}/{part}"
        succeed(graph, node, [product, cast, steps, back])
    return "MatMul int8"


def rounding_of(graph: ir.Graph, node: ir.Node, left: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """uint8, step and zero of an activation: made once, whatever the number of products that read it."""
    for reader, _ in left.uses():
        if reader.op_type == "DynamicQuantizeLinear":
            return reader.outputs[0], reader.outputs[1], reader.outputs[2]
    made = ir.node("DynamicQuantizeLinear", [left], num_outputs=3, name=f"{node.name}/Dynamic")
    for value, part in zip(made.outputs, ("uint8", "step", "zero"), strict=True):
        value.name = f"{node.name}/{part}"
    producer = left.producer()
    if producer is None:
        graph.insert_before(graph[0], made)
    else:
        graph.insert_after(producer, made)
    return made.outputs[0], made.outputs[1], made.outputs[2]
