"""Exemplar boxes: what is refused, and RoIAlign as two matrices against the operator's definition."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from sam3_edge.boxes import Box, pooling_matrices
from sam3_edge.concept import Concept, as_concepts
from sam3_edge.errors import UsageError

GRID, SIZE, CHANNELS = 12, 7, 3
Floats = NDArray[np.float32]


def sample(feature: Floats, y: float, x: float) -> Floats:
    """The operator's bilinear sample of [C, G, G]: 0 beyond one cell outside, the edge's value before."""
    side = feature.shape[1]
    if y < -1 or y > side or x < -1 or x > side:
        return np.zeros(len(feature), np.float32)
    corners = []
    for place in (max(y, 0), max(x, 0)):
        low = min(int(place), side - 1)
        part = 0.0 if low == side - 1 else place - low
        corners.append(((low, 1 - part), (min(low + 1, side - 1), part)))
    total = sum(wy * wx * feature[:, j, i] for j, wy in corners[0] for i, wx in corners[1])
    return np.asarray(total, np.float32)


def roi_align(feature: Floats, box: Floats) -> Floats:
    """One box, cxcywh as fractions -> [C, SIZE, SIZE]. Sample by sample, as the operator is defined."""
    centre, half = box[:2], np.float32(0.5) * box[2:]
    (x0, y0), (x1, y1) = (centre - half) * np.float32(GRID), (centre + half) * np.float32(GRID)
    wide, high = (max(high - low, np.float32(1)) / np.float32(SIZE) for low, high in ((x0, x1), (y0, y1)))
    ys, xs = (places(np.float32(low), np.float32(bin_)) for low, bin_ in ((y0, high), (x0, wide)))
    out = np.zeros((len(feature), SIZE, SIZE), np.float32)
    for j in range(SIZE):
        for i in range(SIZE):
            out[:, j, i] = np.mean([sample(feature, y, x) for y in ys[j] for x in xs[i]], axis=0)
    return out


def places(start: np.float32, width: np.float32) -> list[list[float]]:
    """Where each bin along one axis is sampled, in float32 and in the order of the operator's kernels."""
    count = math.ceil(width)
    steps = [(np.float32(step) + np.float32(0.5)) * width / np.float32(count) for step in range(count)]
    return [[float(start + np.float32(index) * width + step) for step in steps] for index in range(SIZE)]


def roi_align_in_onnx_runtime(feature: Floats, boxes: Floats) -> Floats:
    """The same by ONNX Runtime's operator."""
    node = onnx.helper.make_node(
        "RoiAlign",
        ["x", "rois", "batch"],
        ["y"],
        output_height=SIZE,
        output_width=SIZE,
        sampling_ratio=0,
        coordinate_transformation_mode="output_half_pixel",
    )
    kinds = {"x": onnx.TensorProto.FLOAT, "rois": onnx.TensorProto.FLOAT, "batch": onnx.TensorProto.INT64}
    inputs = [onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()]
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([node], "roi", inputs, [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    half = np.float32(0.5) * boxes[:, 2:]
    rois = np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), 1) * np.float32(GRID)
    feeds = {"x": feature[None], "rois": rois, "batch": np.zeros(len(boxes), np.int64)}
    out: Floats = session.run(None, feeds)[0]
    return out


BOXES = {
    "whole picture": (0.5, 0.5, 1, 1),
    "inside": (0.4, 0.6, 0.3, 0.2),
    "whole cells": (0.5, 0.5, 0.5, 0.25),
    "smaller than a cell": (0.3, 0.7, 0.01, 0.02),
    "no area": (0.25, 0.25, 0, 0),
    "flat": (0.5, 0.31, 0.8, 0),
    "over the left and top edge": (0.0, 0.1, 0.3, 0.5),
    "over the right and bottom edge": (0.95, 1.0, 0.4, 0.3),
    "around the picture": (0.5, 0.5, 1.7, 2.9),
    "far around the picture": (0.5, 0.5, 41.0, 3.0),
    "outside": (1.8, -0.9, 0.2, 0.3),
    "inverted": (0.5, 0.5, -0.4, -0.3),
}


@pytest.mark.parametrize("name", BOXES)
def test_pooling_is_roi_align(name: str) -> None:
    feature = np.random.default_rng(0).normal(size=(CHANNELS, GRID, GRID)).astype(np.float32)
    box = np.array([BOXES[name]], np.float32)
    y, x = pooling_matrices(box, GRID, SIZE)
    assert y.shape == x.shape == (1, SIZE, GRID) and y.dtype == x.dtype == np.float32
    got = y[0] @ feature @ x[0].T
    assert np.abs(got - roi_align(feature, box[0])).max() < 1e-6
    assert np.abs(got - roi_align_in_onnx_runtime(feature, box)[0]).max() < 1e-5


def test_pooling_is_roi_align_for_many_boxes() -> None:
    rng = np.random.default_rng(1)
    feature = rng.normal(size=(CHANNELS, GRID, GRID)).astype(np.float32)
    drawn = np.concatenate((rng.uniform(-0.3, 1.3, (300, 2)), rng.uniform(0, 1.5, (300, 2))), 1)
    boxes = drawn.astype(np.float32)
    y, x = pooling_matrices(boxes, GRID, SIZE)
    got = np.einsum("kyg,cgh,kxh->kcyx", y, feature, x)
    assert np.abs(got - roi_align_in_onnx_runtime(feature, boxes)).max() < 1e-5
    for index in range(0, 300, 30):
        assert np.abs(got[index] - roi_align(feature, boxes[index])).max() < 1e-6


def test_no_boxes_and_unused_boxes_pool_without_warnings() -> None:
    assert [m.shape for m in pooling_matrices(np.zeros((0, 4), np.float32), GRID, SIZE)] == [(0, 7, 12)] * 2
    assert np.isfinite(pooling_matrices(np.zeros((2, 4), np.float32), GRID, SIZE)).all()


def test_a_box_reaching_far_costs_no_more() -> None:
    box = Box(-1e5, 0, 1e5, 90).relative(100, 200)
    y, x = pooling_matrices(box[None], GRID, SIZE)
    middle = x[0, SIZE // 2]
    assert (middle > 0).all() and x[0, 0].sum() == 0 and np.allclose(y[0].sum(1), 1)


def test_parse() -> None:
    assert Box.parse("1,2,3.5,4") == Box(1, 2, 3.5, 4)
    assert Box.parse(" 1, 2 ,3,4:neg") == Box(1, 2, 3, 4, positive=False)
    assert Box.parse("1,2,3,4:pos") == Box(1, 2, 3, 4)
    assert Box.parse(str(Box(1, 2, 3.5, 4, positive=False))) == Box(1, 2, 3.5, 4, positive=False)


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,3,4:no", "1 2 3 4", "1,2,3,4::neg"]
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(UsageError, match=r"want x0,y0,x1,y1\[:neg\]"):
        Box.parse(text)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("9,2,3,4", "inverted: x1 = 3 must be above x0 = 9"),
        ("1,9,3,4", "inverted: y1 = 4 must be above y0 = 9"),
        ("3,2,3,4", "empty: x1 = 3"),
        ("1,2,3,2", "empty: y1 = 2"),
        ("nan,2,3,4", "four finite numbers"),
        ("1,2,inf,4", "four finite numbers"),
    ],
)
def test_bad_boxes_are_named(text: str, fact: str) -> None:
    with pytest.raises(UsageError) as caught:
        Box.parse(text)
    assert fact in str(caught.value) and f"box {text}" in str(caught.value) and "\n" not in str(caught.value)


def test_relative() -> None:
    assert Box(20, 10, 60, 40).relative(100, 200).tolist() == pytest.approx([0.2, 0.25, 0.2, 0.3])
    # Over the edge: as drawn, not clipped.
    assert Box(-20, 50, 20, 150).relative(100, 200).tolist() == pytest.approx([0, 1, 0.2, 1])


@pytest.mark.parametrize("text", ["200,0,210,9", "0,100,9,110", "-9,0,0,9", "0,-9,9,0"])
def test_boxes_outside_the_picture_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=rf"box {text} is outside the picture of 200 x 100 pixels"):
        Box.parse(text).relative(100, 200)


def test_boxes_out_of_all_proportion_are_refused() -> None:
    with pytest.raises(UsageError, match="1000 pictures far"):
        Box(-1e30, 0, 1e30, 9).relative(100, 200)


def test_concepts() -> None:
    box, other = Box(1, 2, 3, 4), Box(1, 2, 3, 4, positive=False)
    assert Concept("dog").text == "dog" and Concept(boxes=(box,)).text == "visual"
    assert as_concepts("dog") == [Concept("dog")]
    assert as_concepts(["dog", Concept(boxes=(box, other))]) == [Concept("dog"), Concept(None, (box, other))]
    assert Concept("dog", boxes=(other,)).boxes == (other,)
    for phrase in ("", "  ", "\n"):
        with pytest.raises(UsageError, match="phrase is empty"):
            Concept(phrase)
    with pytest.raises(UsageError, match="without phrase and boxes"):
        Concept()
    with pytest.raises(UsageError, match="negative boxes alone"):
        Concept(boxes=(other,))
    with pytest.raises(UsageError, match="no concept"):
        as_concepts([])
