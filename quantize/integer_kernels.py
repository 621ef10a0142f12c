"""Spellings in which ONNX Runtime finds its integer kernels, in a graph of quantized linear operators."""

from __future__ import annotations

import onnx_ir as ir

from .onnx_file import constant

BACK = "DequantizeLinear"


def one_for_each(graph: ir.Graph) -> None:
    """A DequantizeLinear of an activation that several nodes read becomes one for each of them."""
    for node in list(graph):
        if node.op_type != BACK or node.inputs[0] is None or node.inputs[0].is_initializer():
            continue
        for number, (reader, index) in enumerate(list(node.outputs[0].uses())[1:], 2):
            twin = ir.node(BACK, list(node.inputs), dict(node.attributes), name=f"{node.name}_{number}")
            twin.outputs[0].name = twin.name
            graph.insert_after(node, twin)
            reader.replace_input_with(index, twin.outputs[0])


def bias_apart(graph: ir.Graph) -> None:
    """The bias behind a quantized MatMul gets two axes more: MatMulAddFusion takes the shape [N] alone.

    So the file itself keeps the fusion off, whoever opens it.
    """
    for node in list(graph):
        if node.op_type != "MatMul" or any(v is None or made_by(v) != BACK for v in node.inputs):
            continue
        for reader, index in list(node.outputs[0].uses()):
            bias = reader.inputs[1 - index] if reader.op_type == "Add" else None
            if bias is None or bias.const_value is None or len(bias.const_value.shape) != 1:
                continue
            name = f"{bias.name}/apart"
            wide = graph.initializers.get(name)
            if wide is None:
                wide = constant(graph, name, bias.const_value.numpy().reshape(1, 1, -1))
            reader.replace_input_with(1 - index, wide)
            if not list(bias.uses()):
                graph.initializers.pop(str(bias.name))


def made_by(value: ir.Value) -> str | None:
    """The operator that makes a value."""
    producer = value.producer()
    return None if producer is None else producer.op_type
