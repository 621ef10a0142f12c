"""The tracker's graphs as ONNX: one file for any number of objects, equal to PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from tiny_export import tiny_model

from sam3_edge.export.model import Sam3, fold
from sam3_edge.export.to_onnx import lower
from sam3_edge.spec import MASKED, OBJECTS, GraphSpec, TensorSpec, graph_specs

GRAPHS = ("tracker_features", "tracker_init", "tracker_step", "tracker_refine", "memorize")
TOLERANCE = 1e-4  # of |ours - theirs| / |theirs|


@pytest.fixture(scope="module")
def model() -> Sam3:
    """Folded, and sure that its objects are there."""
    model = tiny_model()
    bias = model.tracker.decoder.score_head.layers[2].bias
    assert isinstance(bias, torch.Tensor)
    bias.data.fill_(4.0)
    return fold(model)


def feed(
    tensor: TensorSpec, objects: int, rng: np.random.Generator
) -> NDArray[np.float32] | NDArray[np.int32]:
    """Something that may stand there; of everything that can be hidden, about half is."""
    shape = tensor.sized(objects)
    if tensor.dtype == "int32":
        return rng.integers(-1 if tensor.name == "labels" else 0, 4, shape).astype(np.int32)
    if tensor.name.endswith("_bias"):
        bias = np.where(rng.random(shape) < 0.5, MASKED, 0).astype(np.float32)
        bias[:, 0] = 0
        return bias
    if tensor.name in ("present", "hard", "has_previous"):
        return rng.integers(0, 2, shape).astype(np.float32)
    return rng.standard_normal(shape).astype(np.float32) * (20 if tensor.name == "points" else 1)


def axes(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    """The shape in the file; a name where it is open."""
    return tuple(axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim)


def check_answers(spec: GraphSpec, path: Path, model: Sam3, objects: int) -> None:
    """Feed both, compare all outputs."""
    rng = np.random.default_rng(objects)
    feeds = {t.name: feed(t, objects, rng) for t in spec.inputs}
    with torch.no_grad():
        wanted = model.graph(spec.name)(*(torch.from_numpy(x) for x in feeds.values()))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run([t.name for t in spec.outputs], feeds)
    for tensor, ours, theirs in zip(
        spec.outputs, got, wanted if isinstance(wanted, tuple) else (wanted,), strict=True
    ):
        assert ours.shape == tensor.sized(objects) == tuple(theirs.shape)
        assert np.linalg.norm(ours - theirs.numpy()) <= TOLERANCE * float(theirs.norm()), tensor.name


@pytest.mark.parametrize("name", GRAPHS)
def test_any_number_of_objects(model: Sam3, name: str, tmp_path: Path) -> None:
    spec = graph_specs(model.config)[name]
    path = tmp_path / lower(model.graph(name), spec, tmp_path)
    graph = onnx.load(path, load_external_data=False).graph
    for values, tensors in ((graph.input, spec.inputs), (graph.output, spec.outputs)):
        assert [axes(value) for value in values] == [tensor.shape for tensor in tensors]
    kinds = {node.op_type for node in graph.node}
    assert not kinds & {"Gather", "GatherND", "GatherElements", "ScatterND", "If", "Loop", "Where", "Greater"}
    for objects in (1, 3):
        check_answers(spec, path, model, objects)
    assert (OBJECTS in {axis for value in graph.input for axis in axes(value)}) == (
        name != "tracker_features"
    )
