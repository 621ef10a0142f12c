"""NNCF's static quantization of one ONNX graph, in shards of blocks, and what makes its int8 kernels run.

Four things that cost speed or fail without a word, each handled here:
- NNCF stops at a product of two constants, and the first queries are one: constants are folded before.
- ONNX Runtime makes an fp32 Gemm of MatMul and bias before it looks for integers: the bias gets a shape that
  Gemm does not take.
- q, k and v share one DequantizeLinear, and fusion wants each MatMul to have its own.
- NNCF holds about twelve copies of a graph: 0.5 GB of weights take 5.6 to 7.7 GB.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from sam3_edge.alone import alone

from .feeds import Feeds
from .keep import Keep, Row
from .nncf_part import answers, quantize_part
from .onnx_parts import (
    ASIDE,
    LEAST,
    Parts,
    count_parts,
    join,
    part_of,
    parted,
    parts_of,
    put_aside,
    read,
    take_back,
    write,
)
from .tally import Tally

COPIES = 14  # of a shard's weights, in memory
LARGEST_OPSET = 20  # of 21 and later ONNX Runtime 1.32 does not load what NNCF writes
WholeCheck = Callable[[onnx.ModelProto, tuple[Row, ...]], float]
TAKEN = "accuracy control took it back"


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
    model, parts = parted(path, count_parts(path))
    names = chosen(model.graph, keep, kinds, tally)
    if check is None:
        made = quantize_parts(path, model, len(parts), feeds, names, how)
    else:
        made = quantize_checked(path, model, parts, feeds, names, check, how)
    tally.compressed += Counter(compressed(made.graph, names).values())
    taken = taken_back(made.graph, names) if check else ()
    tally.kept += Counter(row.reason for row in taken)
    return taken


def quantize_parts(
    path: Path,
    model: onnx.ModelProto,
    count: int,
    feeds: Sequence[Feeds],
    names: set[str],
    how: dict[str, Any],
) -> onnx.ModelProto:
    """The file with every part quantized, and its model without weights.

    Each of several parts has a process of its own: neither NNCF nor protobuf gives back all that one took,
    and eight of them held 19 GB.
    """
    path.with_name(ASIDE).unlink(missing_ok=True)
    run, made, held = alone if count > 1 else call, [], list(feeds)
    for number in range(count):
        spelled, held = run(quantize_numbered, path, count, number, held, names, how)
        made.append(onnx.load_from_string(spelled))
    whole = join(model, made)
    take_back(whole, path)
    return whole


def quantize_checked(
    path: Path,
    model: onnx.ModelProto,
    parts: Parts,
    feeds: Sequence[Feeds],
    names: set[str],
    check: WholeCheck,
    how: dict[str, Any],
) -> onnx.ModelProto:
    """The file with as much of it quantized as `check` lets pass, and its model; all in memory."""
    made: list[onnx.ModelProto] = []
    held = list(feeds)
    for number, nodes in enumerate(parts):
        part = part_of(model, nodes, path.parent)
        here = names & {node.name for node in nodes}
        following = list(answers(part, held)) if number < len(parts) - 1 else []
        rest = partial(parts_of, model, parts[number + 1 :], path.parent)
        whole = partial(check_part, check, model, tuple(made), rest, here)
        made.append(quantize_part(part, held, here, whole, **how) if here else part)
        held = following
    joined = join(model, made)
    write(joined, path)
    return joined


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
