"""An ONNX file, and its graph cut between blocks into parts and put together again."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
from onnx.external_data_helper import load_external_data_for_tensor, set_external_data, uses_external_data

SHARD = 240e6  # bytes of weights of a part: four blocks of the full-size trunk
LEAST = 256  # bytes of a weight that lies beside its file
ASIDE = "parts.data"
BLOCK = re.compile(r"(?:encoder|layers|blocks)\.\d+")

Parts = list[list[onnx.NodeProto]]


def data_of(path: Path) -> Path:
    """Where the weights of a file lie."""
    return path.with_name(f"{path.name}.data")


def read(path: Path) -> onnx.ModelProto:
    """The model with its weights."""
    return onnx.load(str(path))


def write(model: onnx.ModelProto, path: Path) -> None:
    """The model and its weights in the place of what is there."""
    data = data_of(path)
    data.unlink(missing_ok=True)
    onnx.save(model, str(path), save_as_external_data=True, location=data.name, size_threshold=LEAST)


def count_parts(path: Path) -> int:
    """In how many parts no part has more weights than `SHARD`."""
    data = data_of(path)
    return max(1, int(np.ceil(data.stat().st_size / SHARD))) if data.exists() else 1


def parted(path: Path, count: int) -> tuple[onnx.ModelProto, Parts]:
    """The folded file without its weights, and its parts."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path), load_external_data=False))
    return model, shards(model.graph, count)


def shards(graph: onnx.GraphProto, parts: int) -> Parts:
    """The nodes in order, cut between blocks, in so many parts or one less."""
    blocks: list[list[onnx.NodeProto]] = [[]]
    last = None
    for node in graph.node:
        found = BLOCK.match(node.name)
        if found and found[0] != last:
            last = found[0]
            blocks.append([])
        blocks[-1].append(node)
    if len(blocks) > 1:
        blocks[1] = blocks[0] + blocks[1]  # what comes before the first block
        del blocks[0]
    size = int(np.ceil(len(blocks) / parts))
    return [list(chain(*blocks[start : start + size])) for start in range(0, len(blocks), size)]


def part_of(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], folder: Path) -> onnx.ModelProto:
    """A model of these nodes; its inputs and outputs are what other nodes make and need."""
    graph = model.graph
    kinds = {v.name: v for v in (*graph.input, *graph.output, *graph.value_info)}
    made = {name for node in nodes for name in node.output}
    read_here = {name for node in nodes for name in node.input if name}
    elsewhere = {name for node in graph.node if not made & set(node.output) for name in node.input}
    weights = [copy.deepcopy(tensor) for tensor in graph.initializer if tensor.name in read_here]
    for tensor in weights:
        if uses_external_data(tensor):
            load_external_data_for_tensor(tensor, str(folder))
            del tensor.external_data[:]
            tensor.data_location = onnx.TensorProto.DEFAULT
    held = {tensor.name for tensor in weights}
    inputs = [kinds[name] for name in sorted(read_here - made - held)]
    ends = {value.name for value in graph.output}
    outputs = [kinds[name] for name in sorted(made & (elsewhere | ends))]
    part = onnx.helper.make_graph(list(nodes), graph.name, inputs, outputs, weights)
    return onnx.helper.make_model(
        part, opset_imports=list(model.opset_import), ir_version=min(model.ir_version, 10)
    )


def parts_of(
    model: onnx.ModelProto, parts: Sequence[Sequence[onnx.NodeProto]], folder: Path
) -> Iterator[onnx.ModelProto]:
    """Models of these parts, as they are in the file."""
    return (part_of(model, nodes, folder) for nodes in parts)


def join(model: onnx.ModelProto, parts: Sequence[onnx.ModelProto]) -> onnx.ModelProto:
    """`model` made of these parts."""
    nodes = [node for part in parts for node in part.graph.node]
    weights = {tensor.name: tensor for part in parts for tensor in part.graph.initializer}
    graph = onnx.helper.make_graph(
        nodes, model.graph.name, list(model.graph.input), list(model.graph.output), list(weights.values())
    )
    opsets = {opset.domain: opset for part in parts for opset in part.opset_import}
    return onnx.helper.make_model(graph, opset_imports=list(opsets.values()), ir_version=10)


def put_aside(part: onnx.ModelProto, path: Path) -> None:
    """The part's weights into a file beside `path`, which becomes its data."""
    with path.with_name(ASIDE).open("ab") as file:
        for tensor in part.graph.initializer:
            if not tensor.HasField("raw_data"):
                tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
            if len(tensor.raw_data) >= LEAST:
                set_external_data(tensor, data_of(path).name, file.tell(), len(tensor.raw_data))
                file.write(tensor.raw_data)
                tensor.ClearField("raw_data")


def take_back(model: onnx.ModelProto, path: Path) -> None:
    """`model`, whose weights were put aside, in the place of the file at `path`."""
    path.with_name(ASIDE).replace(data_of(path))
    path.write_bytes(model.SerializeToString())
