"""A lowered fp32 graph to a typed one: every node in the precision of the table, explicit casts between them.

TensorRT builds such a graph strongly typed, from 10.3 to 11: nothing is left to its choice but kernels.
"""

from __future__ import annotations

import re

import numpy as np
import onnx_ir as ir

from sam3_edge.engines.rungs import PROBE
from sam3_edge.errors import CheckError

from .precision import ATTENTION, FOLLOWERS, FULL, HALF, Row, decide

DTYPES = {HALF: ir.DataType.FLOAT16, FULL: ir.DataType.FLOAT}
FLOATS = frozenset(DTYPES.values())
LARGEST = float(np.finfo(np.float16).max)


def module_of(node: ir.Node) -> str:
    """The module that a node is named after."""
    return str(node.name).rpartition("/")[0]


def kind_of(node: ir.Node) -> str:
    """The operator, or `Bias` for the Add that ends a linear layer."""
    if node.op_type == "Add":
        a, b = (value for value in node.inputs if value is not None)
        value, weight = (b, a) if a.is_initializer() else (a, b)
        product = value.producer()
        is_bias = weight.is_initializer() and weight.shape is not None and len(weight.shape) == 1
        if is_bias and product is not None and product.op_type == "MatMul":
            return "Bias"
    return node.op_type


def place_of(graph: ir.Graph, node: ir.Node) -> str:
    """The node's place as rows of the table name it."""
    return f"{graph.name}/{module_of(node)}"


def float_inputs(node: ir.Node) -> list[int]:
    """Which inputs of a node have its precision. Scales of a Resize are always fp32."""
    places = [i for i, value in enumerate(node.inputs) if value is not None and value.dtype in FLOATS]
    return [i for i in places if node.op_type != "Resize" or i == 0]


def wanted(graph: ir.Graph, node: ir.Node, table: tuple[Row, ...]) -> ir.DataType:
    """The precision of a node. Raises `CheckError` for one that the table does not know."""
    if node.op_type in FOLLOWERS:
        moved = [node.inputs[i] for i in float_inputs(node)]
        return DTYPES[FULL if any(v is not None and v.dtype == DTYPES[FULL] for v in moved) else HALF]
    kind, place = kind_of(node), place_of(graph, node)
    row = decide(table, kind, place)
    if row is None:
        raise CheckError(f"graph {graph.name}: the precision table has no row for {kind} in {place!r}")
    return DTYPES[row.dtype]


def store(model: ir.Model, table: tuple[Row, ...]) -> None:
    """Make weights fp16 whose every reader is; after this the graph's types do not fit until `settle`.

    Raises `CheckError` for a weight above 65504.
    """
    for value in model.graph.initializers.values():
        readers = [node for node, _ in value.uses()]
        if value.dtype != DTYPES[FULL] or value.const_value is None or not readers:
            continue
        if all(reads_half(model.graph, node, table) for node in readers):
            weights = value.const_value.numpy()
            if weights.size and np.abs(weights).max() > LARGEST:
                raise CheckError(
                    f"fp16: {value.name} reaches {np.abs(weights).max():.3g}, above 65504: use --scheme fp32"
                )
            value.const_value = ir.tensor(weights.astype(np.float16), name=value.name)
            value.dtype = DTYPES[HALF]


def reads_half(graph: ir.Graph, node: ir.Node, table: tuple[Row, ...]) -> bool:
    """Whether a node wants this weight in fp16. A table of tokens is only read from, so it may be."""
    if node.op_type in FOLLOWERS:
        return node.op_type == "Gather"
    return wanted(graph, node, table) == DTYPES[HALF]


def settle(model: ir.Model, table: tuple[Row, ...]) -> None:
    """Give every node its precision, in place. Inputs and outputs of the graph stay what they are."""
    graph = model.graph
    casts: dict[tuple[int, ir.DataType], ir.Value] = {}
    for node in list(graph):
        places = float_inputs(node)
        if node.op_type in ("Cast", "Shape") or not places:
            continue  # from integers, or to integers, or of integers only
        dtype = wanted(graph, node, table)
        for i in places:
            value = node.inputs[i]
            assert value is not None and value.dtype is not None
            if value.dtype != dtype:
                key = (id(value), dtype)
                if key not in casts:
                    casts[key] = cast(graph, value, dtype)
                node.replace_input_with(i, casts[key])
        for value in node.outputs:
            if value.dtype in FLOATS:
                value.dtype = dtype
    for i, value in enumerate(graph.outputs):
        if value.dtype == DTYPES[HALF]:
            name, value.name = value.name, f"{value.name}/half"
            graph.outputs[i] = cast(graph, value, DTYPES[FULL])
            graph.outputs[i].name = name


def cast(graph: ir.Graph, value: ir.Value, dtype: ir.DataType) -> ir.Value:
    """The value in another precision, by a node right behind the one that makes it."""
    node = ir.node("Cast", [value], {"to": dtype}, name=f"{value.name}/to_{dtype.name.lower()}")
    made = node.outputs[0]
    made.name, made.dtype, made.shape = node.name, dtype, value.shape
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], node)
    else:
        graph.insert_after(producer, node)
    return made


def probe_attention(model: ir.Model) -> None:
    """Add the largest weight of every attention to the graph's outputs."""
    graph = model.graph
    for node in list(graph):
        if node.op_type == "Softmax" and re.fullmatch(ATTENTION, place_of(graph, node)):
            add_probe(graph, node.outputs[0])


def add_probe(graph: ir.Graph, value: ir.Value) -> None:
    """The largest magnitude of a value, as an fp32 scalar among the graph's outputs."""
    producer = value.producer()
    assert producer is not None
    nodes = []
    if value.dtype != DTYPES[FULL]:
        nodes.append(ir.node("Cast", [value], {"to": DTYPES[FULL]}))
    nodes.append(ir.node("Abs", [nodes[-1].outputs[0] if nodes else value]))
    nodes.append(ir.node("ReduceMax", [nodes[-1].outputs[0]], {"keepdims": 0}))
    for node in nodes:
        node.name = f"{value.name}/probe/{node.op_type}"
        node.outputs[0].name, node.outputs[0].dtype = node.name, DTYPES[FULL]
        node.outputs[0].shape = value.shape
    graph.insert_after(producer, nodes)
    made = nodes[-1].outputs[0]
    made.name, made.shape = f"{PROBE}{value.name}", ir.Shape([])
    graph.outputs.append(made)
