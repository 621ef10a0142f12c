"""How much memory a graph needs when it runs, computed from its shapes."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import onnx_ir as ir

from sam3_edge.engines.rungs import OBJECTS_AT_ONCE

OBJECTS = OBJECTS_AT_ONCE[-1]
# Nodes whose output is their input seen differently.
VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Cast"})


def footprint(path: Path) -> dict[str, int]:
    """Bytes of the weights, of inputs and outputs, and of the values that live at the same time at most.

    Values are counted as a builder would lay them out: each from the node that makes it to the last that
    reads it, a cast fused with its reader; of a tracker's graph for as many objects as run at once.
    """
    graph = sized(path)
    stored = (value.const_value for value in graph.initializers.values())
    weights = sum(tensor.nbytes for tensor in stored if tensor is not None)
    edges = {id(value) for value in (*graph.inputs, *graph.outputs)}
    last: dict[int, int] = {}
    for i, node in enumerate(graph):
        for value in node.inputs:
            if value is not None:
                last[id(root(value))] = i
    live = peak = 0
    dying: dict[int, list[ir.Value]] = {}
    for i, node in enumerate(graph):
        for value in node.outputs:
            if id(value) not in edges and root(value) is value and id(value) in last:
                live += size(value)
                dying.setdefault(last[id(value)], []).append(value)
        peak = max(peak, live)
        live -= sum(size(value) for value in dying.get(i, ()))
    around = sum(size(value) for value in (*graph.inputs, *graph.outputs))
    return {"weights": weights, "edges": around, "activations": peak}


def sized(path: Path) -> ir.Graph:
    """The graph with every length known."""
    model = onnx.load(path, load_external_data=False)
    for value in (*model.graph.input, *model.graph.output):
        for length in value.type.tensor_type.shape.dim:
            if length.dim_param:
                length.dim_value = OBJECTS
    del model.graph.value_info[:]
    return ir.from_proto(onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)).graph


def root(value: ir.Value) -> ir.Value:
    """The value that this one is a view of."""
    producer = value.producer()
    while producer is not None and producer.op_type in VIEWS and producer.inputs[0] is not None:
        value = producer.inputs[0]
        producer = value.producer()
    return value


def size(value: ir.Value) -> int:
    """Bytes of a value."""
    assert value.shape is not None and value.dtype is not None
    return int(math.prod(value.shape.numpy()) * value.dtype.itemsize)
