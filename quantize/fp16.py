"""Scheme `fp16`: weights stored in half precision, half the size; arithmetic stays fp32.

ONNX Runtime's CPU kernels have no fp16 arithmetic: converting the graph itself runs at 0.77 of the speed and
needs half as much memory again. So each weight is stored as fp16 with a Cast behind it, which the runtime
folds while loading: speed and memory are those of fp32, and only the rounding of the weights is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from sam3_edge.errors import CheckError

TARGETS = frozenset({"onnx"})


@dataclass(frozen=True)
class Config:
    """Tensors with fewer than `least` values stay fp32: biases and norms are 0.1 % of the bytes."""

    least: int = 1024


def compress(path: Path, config: Config | None = None) -> None:
    """Rewrite the ONNX file at `path` and its external data in place.

    Raises `CheckError` for a weight that fp16 cannot hold (above 65504).
    """
    config = config or Config()
    model = ir.load(path)
    for value in list(model.graph.initializers.values()):
        tensor = value.const_value
        if tensor is not None and value.dtype == ir.DataType.FLOAT and tensor.size >= config.least:
            halve(model.graph, value)
    forget(model.graph)
    data = path.with_name(path.name + ".data")
    ir.external_data.load_to_model(model)  # the new data file takes the old one's name
    data.unlink()
    ir.save(model, path, external_data=data.name)


def halve(graph: ir.Graph, value: ir.Value) -> None:
    """Replace one fp32 initializer by an fp16 one and a Cast."""
    assert value.name is not None and value.const_value is not None
    weights = value.const_value.numpy()
    if np.abs(weights).max() > np.finfo(np.float16).max:
        raise CheckError(
            f"fp16: {value.name} reaches {np.abs(weights).max():.3g}, above 65504: use --scheme fp32"
        )
    half = ir.val(f"{value.name}/fp16", ir.DataType.FLOAT16, value.shape)
    half.const_value = ir.tensor(weights.astype(np.float16), name=half.name)
    cast = ir.node("Cast", [half], {"to": ir.DataType.FLOAT}, name=f"{value.name}/Cast")
    cast.outputs[0].name = f"{value.name}/fp32"
    cast.outputs[0].dtype, cast.outputs[0].shape = ir.DataType.FLOAT, value.shape
    ir.convenience.replace_all_uses_with(value, cast.outputs[0])
    graph.initializers.pop(value.name)
    graph.register_initializer(half)
    graph.insert_before(graph[0], cast)


def forget(graph: ir.Graph) -> None:
    """Leave out what readers infer or see elsewhere, 4 % of a small model.

    That is what is said of inner tensors, and nodes' names: the tensor that a node makes has the same.
    """
    kept = {id(value) for value in (*graph.inputs, *graph.outputs)}
    for node in graph:
        node.name = None
        for value in node.outputs:
            if id(value) not in kept:
                value.shape = value.type = None
