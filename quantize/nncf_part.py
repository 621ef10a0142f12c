"""One part of a graph, quantized by NNCF: all of the products named, or as many as a check lets pass."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

os.environ.setdefault("NNCF_CI", "1")  # NNCF reports its use to its makers otherwise

import nncf

from .feeds import Feeds

PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose")
OTHERS = (
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Neg",
    "Concat",
    "Softmax",
    "Resize",
    "Gelu",
    "LayerNormalization",
    "Gather",
)
Check = Callable[[onnx.ModelProto], float]  # the share of what is allowed that a model uses

nncf.set_log_level(40)  # errors only


def quantize_part(
    part: onnx.ModelProto, feeds: Sequence[Feeds], names: set[str], check: Check | None = None, **how: Any
) -> onnx.ModelProto:
    """One part, quantized at the products named only; at as many of them as `check` lets pass."""
    wanted = {value.name for value in part.graph.input}
    data = nncf.Dataset([{n: np.array(v) for n, v in feed.items() if n in wanted} for feed in feeds])
    ignored = [n.name for n in part.graph.node if n.op_type in PRODUCTS and n.name not in names]
    how |= {
        "subset_size": len(feeds),
        "model_type": nncf.ModelType.TRANSFORMER,  # SmoothQuant needs it
        "fast_bias_correction": True,  # the other one crashes on these graphs
        "ignored_scope": nncf.IgnoredScope(names=ignored, types=list(OTHERS), validate=False),
    }
    with contextlib.redirect_stdout(sys.stderr):
        if check is not None:
            return quantize_controlled(part, data, check, **how)
        made: onnx.ModelProto = nncf.quantize(part, data, **how)
    return made


def quantize_controlled(
    part: onnx.ModelProto, data: Any, check: Check, *, advanced_parameters: Any, **how: Any
) -> onnx.ModelProto:
    """As `nncf.quantize`, but what harms most stays in floating point until `check` is at most 1.

    NNCF ranks the products by what single feeds say: here how near the part's outputs stay, which is quick.
    After each that it takes back it asks about all feeds: here `check`.
    """
    known: dict[bytes, float] = {}
    exact = opened(part)

    def room(model: onnx.ModelProto) -> float:
        spelled = model.SerializeToString(deterministic=True)
        if spelled not in known:
            known.clear()
            known[spelled] = 1.0 - check(model)
        return known[spelled]

    def validate(model: onnx.ModelProto, items: Any) -> tuple[float, list[float]]:
        session, some = opened(model), list(items)
        near = [-distance(exact.run(None, item), session.run(None, item)) for item in some]
        return (near[0] if len(some) == 1 < data.get_length() else room(model)), near

    made: onnx.ModelProto = nncf.quantize_with_accuracy_control(
        part,
        data,
        data,
        validate,
        max_drop=max(room(part), 0.0),
        drop_type=nncf.DropType.ABSOLUTE,
        advanced_quantization_parameters=advanced_parameters,
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(num_ranking_workers=1),
        **how,
    )
    return made


def distance(wanted: Sequence[NDArray[Any]], got: Sequence[NDArray[Any]]) -> float:
    """The sum over outputs of the squared error relative to the squared value."""
    pairs = zip(wanted, got, strict=True)
    return sum(float(np.square(a - b).sum() / max(np.square(a).sum(), 1e-12)) for a, b in pairs)


def answers(part: onnx.ModelProto, feeds: Sequence[Feeds]) -> Iterator[Feeds]:
    """What a part gives for each feed, beside what it was fed."""
    session = opened(part)
    names = [value.name for value in part.graph.output]
    wanted = {value.name for value in part.graph.input}
    for feed in feeds:
        mine = {name: np.array(value) for name, value in feed.items() if name in wanted}
        yield {**feed, **dict(zip(names, session.run(names, mine), strict=True))}


def opened(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """The model in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
