"""Scheme `fp16`: weights stored in half precision, half the size; arithmetic stays fp32.

ONNX Runtime's CPU kernels have no fp16 arithmetic: converting the graph itself runs at 0.77 of the speed and
needs half as much memory again. So each weight is stored as fp16 with a Cast behind it, which the runtime
folds while loading: speed and memory are those of fp32, and only the rounding of the weights is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from sam3_edge.errors import CheckError

from .feeds import Feeds
from .keep import Keep
from .onnx_file import constant, forget, place_of, rewriting
from .tally import Tally

TARGETS = frozenset({"onnx"})
ABOUT = "weights stored in half precision, arithmetic in fp32"
NEEDS = "nothing"
ROWS: tuple[()] = ()


@dataclass(frozen=True)
class Config:
    """Tensors with fewer than `least` values stay fp32: biases and norms are 0.1 % of the bytes."""

    least: int = 1024


def compress(
    path: Path, config: Config | None = None, *, keep: Keep | None = None, feeds: Sequence[Feeds] = ()
) -> Tally:
    """Rewrite the ONNX file at `path` and its external data in place.

    Raises `CheckError` for a weight that fp16 cannot hold (above 65504).
    """
    config, keep, tally = config or Config(), keep or Keep(), Tally()
    with rewriting(path) as model:
        graph = model.graph
        for value in list(graph.initializers.values()):
            if value.const_value is None or value.dtype != ir.DataType.FLOAT:
                continue
            rows = [row for node, _ in value.uses() if (row := keep.of(place_of(graph, node)))]
            if value.const_value.size < config.least:
                tally.keep(f"under {config.least} values")
            elif any(row.level == "fp32" for row in rows):
                tally.keep(rows[0].reason)
            else:
                halve(graph, value)
                tally.add("weight")
        forget(graph)
    return tally


def halve(graph: ir.Graph, value: ir.Value) -> None:
    """Replace one fp32 initializer by an fp16 one and a Cast."""
    assert value.name is not None and value.const_value is not None
    weights = value.const_value.numpy()
    if np.abs(weights).max() > np.finfo(np.float16).max:
        raise CheckError(
            f"fp16: {value.name} reaches {np.abs(weights).max():.3g}, above 65504: use --scheme fp32"
        )
    half = constant(graph, f"{value.name}/fp16", weights.astype(np.float16))
    cast = ir.node("Cast", [half], {"to": ir.DataType.FLOAT}, name=f"{value.name}/Cast")
    cast.outputs[0].name = f"{value.name}/fp32"
    cast.outputs[0].dtype, cast.outputs[0].shape = ir.DataType.FLOAT, value.shape
    ir.convenience.replace_all_uses_with(value, cast.outputs[0])
    graph.initializers.pop(value.name)
    graph.insert_before(graph[0], cast)
