"""NNCF's static quantization of one ONNX graph, in shards of blocks, and what makes its int8 kernels run.

Four things that cost speed or fail without a word, each handled here:
- NNCF stops at a product of two constants, and the first queries are one: constants are folded before.
- ONNX Runtime makes an fp32 Gemm of MatMul and bias before it looks for integers: the bias gets a shape that
  Gemm does not take.
- q, k and v share one DequantizeLinear, and fusion wants each MatMul to have its own.
- NNCF holds about twelve copies of a graph: 0.5 GB of weights take 5.6 to 7.7 GB.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.external_data_helper import load_external_data_for_tensor, set_external_data, uses_external_data

from sam3_edge.alone import alone

from .feeds import Feeds
from .keep import Keep, Row
from .nncf_part import answers, quantize_part
from .tally import Tally

COPIES = 14  # of a shard's weights, in memory
SHARD = 240e6  # bytes of weights: four blocks of the full-size trunk
LARGEST_OPSET = 20  # of 21 and later ONNX Runtime 1.32 does not load what NNCF writes
LEAST = 256  # bytes of a weight that lies beside its file
ASIDE = "parts.data"
WholeCheck = Callable[[onnx.ModelProto, tuple[Row, ...]], float]
TAKEN = "accuracy control took it back"
BLOCK = re.compile(r"(?:encoder|layers|blocks)\.\d+")


def fold(path: Path) -> None:
    """Fold the constants of the file at `path`, in place, without the fusion that hides products."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    folded = path.with_name("folded.onnx")
    options.optimized_model_filepath = str(folded)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "folded.data")
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", str(LEAST)
    )
    onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=["MatMulAddFusion"]
    )
    model = read(folded)
    folded.unlink()
    folded.with_name("folded.data").unlink(missing_ok=True)
    write(model, path)


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


def place_of(graph: onnx.GraphProto, node: onnx.NodeProto) -> str:
    """`GRAPH/MODULE`."""
    return f"{graph.name}/{node.name.rpartition('/')[0]}"


def chosen(graph: onnx.GraphProto, keep: Keep, kinds: Collection[str], tally: Tally) -> set[str]:
    """Names of the products of these kinds that have a weight and are to be quantized.

    The others are counted with the reason.
    """
    weights, names = {tensor.name for tensor in graph.initializer}, set()
    for node in graph.node:
        if node.op_type not in kinds:
            continue
        row = keep.of(place_of(graph, node))
        if node.input[1] not in weights or node.input[0] in weights:
            tally.keep("a product of two activations: q k and softmax v stay in floating point")
        elif row is not None:
            tally.keep(row.reason)
        else:
            names.add(node.name)
    return names


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


def quantize_graph(
    path: Path,
    keep: Keep,
    feeds: Sequence[Feeds],
    kinds: Collection[str],
    tally: Tally,
    check: WholeCheck | None = None,
    **how: Any,
) -> tuple[Row, ...]:
    """Rewrite the file at `path`, part by part: the products of `kinds`. Without any it stays as it is.

    `check`: the share of what is allowed that the whole graph uses, some rows of which are kept in fp32;
    what harms most is taken back until that is at most 1. Returns what was taken back.
    """
    model = onnx.load(str(path), load_external_data=False)
    if not chosen(model.graph, keep, kinds, Tally()):
        chosen(model.graph, keep, kinds, tally)
        return ()
    fold(path)
    count = count_parts(path)
    model, parts = parted(path, count)
    names = chosen(model.graph, keep, kinds, tally)
    made: list[onnx.ModelProto] = []
    held = list(feeds)
    for number in range(len(parts)):
        if check is None:
            # Held by one process, eight parts took 19 GB: neither NNCF nor protobuf gives back all of one.
            run = alone if len(parts) > 1 else call
            spelled, held = run(quantize_numbered, path, count, number, held, names, how)
            made.append(onnx.load_from_string(spelled))
            continue
        part = part_of(model, parts[number], path.parent)
        here = names & {node.name for node in part.graph.node}
        following = list(answers(part, held))
        rest = partial(parts_of, model, parts[number + 1 :], path.parent)
        whole = partial(check_part, check, model, tuple(made), rest, here)
        made.append(quantize_part(part, held, here, whole, **how) if here else part)
        held = following
    out = join(model, made)
    tally.compressed += Counter(compressed(out.graph, names).values())
    if check is None:
        path.with_name(ASIDE).replace(data_of(path))
        path.write_bytes(out.SerializeToString())
        return ()
    taken = taken_back(out.graph, names)
    tally.kept += Counter(row.reason for row in taken)
    write(out, path)
    return taken


def count_parts(path: Path) -> int:
    """In how many parts no part has more weights than `SHARD`."""
    data = data_of(path)
    return max(1, int(np.ceil(data.stat().st_size / SHARD))) if data.exists() else 1


def parted(path: Path, count: int) -> tuple[onnx.ModelProto, Parts]:
    """The folded file without its weights, and its parts."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path), load_external_data=False))
    return model, shards(model.graph, count)


def call(function: Callable[..., Any], *arguments: object) -> Any:
    """As `alone`, in this process."""
    return function(*arguments)


def quantize_numbered(
    path: Path, count: int, number: int, feeds: Sequence[Feeds], names: set[str], how: dict[str, Any]
) -> tuple[bytes, list[Feeds]]:
    """One part: the model of it, its weights put aside, and the feeds with what it gives for them."""
    model, parts = parted(path, count)
    part = part_of(model, parts[number], path.parent)
    following = list(answers(part, feeds)) if number < len(parts) - 1 else []
    if here := names & {node.name for node in part.graph.node}:
        part = quantize_part(part, feeds, here, **how)
    put_aside(part, path)
    return part.SerializeToString(), following


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


def parts_of(
    model: onnx.ModelProto, parts: Sequence[Sequence[onnx.NodeProto]], folder: Path
) -> Iterator[onnx.ModelProto]:
    """Models of these parts, as they are in the file."""
    return (part_of(model, nodes, folder) for nodes in parts)


def check_part(
    check: WholeCheck,
    model: onnx.ModelProto,
    before: Sequence[onnx.ModelProto],
    after: Callable[[], Iterable[onnx.ModelProto]],
    names: set[str],
    part: onnx.ModelProto,
) -> float:
    """What `check` says of the whole graph with `part`, which may quantize `names`, between the others."""
    return check(join(model, [*before, part, *after()]), taken_back(part.graph, names))


def join(model: onnx.ModelProto, parts: Sequence[onnx.ModelProto]) -> onnx.ModelProto:
    """`model` made of these parts."""
    nodes = [node for part in parts for node in part.graph.node]
    weights = {tensor.name: tensor for part in parts for tensor in part.graph.initializer}
    graph = onnx.helper.make_graph(
        nodes, model.graph.name, list(model.graph.input), list(model.graph.output), list(weights.values())
    )
    opsets = {opset.domain: opset for part in parts for opset in part.opset_import}
    return onnx.helper.make_model(graph, opset_imports=list(opsets.values()), ir_version=10)


def taken_back(graph: onnx.GraphProto, names: set[str]) -> tuple[Row, ...]:
    """Those of `names` that are not quantized."""
    rest = names - set(compressed(graph, names))
    return tuple(
        Row(re.escape(place_of(graph, node)), "fp32", TAKEN) for node in graph.node if node.name in rest
    )


def compressed(graph: onnx.GraphProto, names: set[str]) -> dict[str, str]:
    """Those of `names` whose both sides come out of DequantizeLinear, with their kind."""
    makers = {name: node.op_type for node in graph.node for name in node.output}
    return {
        node.name: f"{node.op_type} int8"
        for node in graph.node
        if node.name in names and {makers.get(name) for name in node.input[:2]} == {"DequantizeLinear"}
    }
