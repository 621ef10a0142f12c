"""The weights of an ONNX graph, one by one: which operation reads each, and what replaces it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .as_fp16 import halve
from .keep import Keep, Row
from .onnx_file import constant, place_of
from .tally import Tally

PRODUCT = "MatMul"
# The input that holds the weight, and the axis along which each number has a scale of its own.
STORED = {"Conv": (1, 0), "ConvTranspose": (1, 1), "Gather": (0, 0)}
Rewrite: TypeAlias = "Callable[[ir.Graph, Weight, Row | None], str]"


@dataclass(frozen=True)
class Weight:
    """An initializer, its numbers, the nodes that read it, and the axis of its scales."""

    value: ir.Value
    nodes: tuple[ir.Node, ...]
    kind: str
    axis: int

    @property
    def numbers(self) -> NDArray[np.float32]:
        assert self.value.const_value is not None
        return np.asarray(self.value.const_value.numpy())


def weight_of(value: ir.Value) -> Weight | None:
    """The value as a weight of its readers; None for biases, positions, and what is read variously."""
    uses = list(value.uses())
    kinds = {(node.op_type, index) for node, index in uses}
    if len(kinds) != 1 or value.const_value is None or value.dtype != ir.DataType.FLOAT:
        return None
    kind, index = kinds.pop()
    nodes = tuple(node for node, _ in uses)
    if kind == PRODUCT and index == 1 and len(value.const_value.shape) == 2:
        return Weight(value, nodes, kind, 1)
    if kind == "Gemm" and index == 1:
        transposed = nodes[0].attributes.get_int("transB", 0)
        return Weight(value, nodes, kind, 0 if transposed else 1)
    if kind in STORED and index == STORED[kind][0] and len(value.const_value.shape) > 1:
        return Weight(value, nodes, kind, STORED[kind][1])
    return None


def rewrite_weights(
    graph: ir.Graph, keep: Keep, least: int, product: Rewrite, stored: Rewrite | None = None
) -> Tally:
    """Replace every weight of at least `least` numbers: products by `product`, others by `stored`.

    Both are told the row of the keep-list, if any, and return the kind that is counted. None for `stored`
    leaves those weights alone.
    """
    tally = Tally()
    for value in list(graph.initializers.values()):
        weight = weight_of(value)
        if weight is None:
            if value.const_value is not None and value.const_value.size >= least:
                tally.keep("a table of positions or another constant")
            continue
        rows = [row for node in weight.nodes if (row := keep.of(place_of(graph, node)))]
        row = min(rows, key=lambda row: ("fp32", "fp16", "w8").index(row.level), default=None)
        rewrite = product if weight.kind == PRODUCT else stored
        if value.const_value is not None and value.const_value.size < least:
            tally.keep(f"under {least} numbers")
        elif row is not None and row.level == "fp32":
            tally.keep(row.reason)
        elif row is not None and row.level == "fp16":
            halve(graph, value)
            tally.add(f"{weight.kind} fp16")
        elif rewrite is None:
            tally.keep(f"{weight.kind} is not what this scheme compresses")
        else:
            tally.add(rewrite(graph, weight, row))
            if not list(value.uses()):
                graph.initializers.pop(str(value.name))
    return tally


def rounded(
    numbers: NDArray[np.float32], axis: int, limit: int = 127
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 and its scales, one along `axis`, symmetric around zero: numbers ~ int8 * scale."""
    others = tuple(i for i in range(numbers.ndim) if i != axis)
    scale = np.maximum(np.abs(numbers).max(axis=others), np.finfo(np.float32).tiny) / limit
    shape = [-1 if i == axis else 1 for i in range(numbers.ndim)]
    whole = np.clip(np.rint(numbers / scale.reshape(shape)), -limit, limit)
    return whole.astype(np.int8), scale.astype(np.float32)


def store(graph: ir.Graph, weight: Weight, row: Row | None) -> str:
    """The weight as int8 with Cast and Mul behind it, which the runtime folds while loading."""
    whole, scale = rounded(weight.numbers, weight.axis)
    name, shape = str(weight.value.name), [1] * whole.ndim
    shape[weight.axis] = -1
    packed = constant(graph, f"{name}/int8", whole)
    scales = constant(graph, f"{name}/scale", scale.reshape(shape))
    cast = ir.node("Cast", [packed], {"to": ir.DataType.FLOAT}, name=f"{name}/Cast")
    product = ir.node("Mul", [cast.outputs[0], scales], name=f"{name}/Mul")
    for node in (cast, product):
        node.outputs[0].name = node.name
        node.outputs[0].dtype, node.outputs[0].shape = ir.DataType.FLOAT, weight.value.shape
    ir.convenience.replace_all_uses_with(weight.value, product.outputs[0])
    graph.insert_before(graph[0], [cast, product])
    return f"{weight.kind} stored as int8"
