"""An ONNX file and its external data, rewritten in place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


@contextmanager
def rewriting(path: Path) -> Iterator[ir.Model]:
    """The model at `path`, to be changed in the block and saved after it, weights mapped and not loaded.

    If the block raises, the file is as it was.
    """
    model = ir.load(path)
    yield model
    fresh = path.with_name("fresh")  # the weights are read from the old file while the new one is written
    fresh.mkdir()
    ir.save(model, fresh / path.name, external_data=f"{path.name}.data")
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    for new in fresh.iterdir():
        os.replace(new, path.parent / new.name)
    fresh.rmdir()


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


def place_of(graph: ir.Graph, node: ir.Node) -> str:
    """`GRAPH/MODULE` of a node: it is named after its module and operator."""
    return f"{graph.name}/{str(node.name).rpartition('/')[0]}"


def constant(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    """A new initializer. A copy: a view of mapped weights would keep their file from being closed."""
    tensor = ir.tensor(np.array(array), name=name)
    value = ir.val(name, tensor.dtype, list(array.shape), const_value=tensor)
    graph.register_initializer(value)
    return value


def succeed(graph: ir.Graph, node: ir.Node, new: list[ir.Node]) -> None:
    """Put new nodes in the place of one; the last gives what it gave, under its name."""
    out, end = node.outputs[0], new[-1].outputs[0]
    graph.insert_before(node, new)
    end.dtype, end.shape, end.name = ir.DataType.FLOAT, out.shape, out.name
    ir.convenience.replace_all_uses_with(out, end, replace_graph_outputs=True)
    graph.remove(node, safe=True)
