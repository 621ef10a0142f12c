"""The evaluator's operators against torch, argument by argument; what it does not know is refused."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, tensor

from sam3_edge.errors import CheckError
from sam3_edge.export import mil_evaluate
from sam3_edge.export.mil_operators import OPERATORS, call

X = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(1))
Y = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(2))
POSITIVE, EVEN = X.abs() + 0.1, (X * 3).round()
COUNTS = torch.arange(6, dtype=torch.int32)
YES, NO = tensor(True), tensor(False)
KERNEL = torch.randn(8, 3, 3, 2, generator=torch.Generator().manual_seed(3))
BIAS = torch.randn(8, generator=torch.Generator().manual_seed(4))
HEADS = torch.randn(3, 2, 2, 5, 4, generator=torch.Generator().manual_seed(5))
MASK = torch.randn(5, 5, generator=torch.Generator().manual_seed(6))
TABLE = tensor([[0.5, -1.0, 2.0, 4.0], [1.0, 3.0, 5.0, 7.0]])


def ints(*values: int) -> Tensor:
    return tensor(values, dtype=torch.int32)


def moved(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """A function of the last axis, on the channels."""
    return function(x.movedim(1, -1)).movedim(-1, 1)


Case = tuple[str, dict[str, Any], Any]
OF_TWO = {
    "add": X + Y,
    "sub": X - Y,
    "mul": X * Y,
    "real_div": X / Y,
    "floor_div": torch.floor(X / Y),
    "maximum": torch.where(X > Y, X, Y),
    "minimum": torch.where(X < Y, X, Y),
    "equal": X == Y,
    "not_equal": X != Y,
    "greater": X > Y,
    "greater_equal": X >= Y,
    "less": X < Y,
    "less_equal": X <= Y,
}
OF_ONE = {
    "abs": X.abs(),
    "ceil": X.ceil(),
    "cos": X.cos(),
    "exp": X.exp(),
    "floor": X.floor(),
    "identity": X,
    "relu": X.clamp(min=0),
    "sigmoid": 1 / (1 + (-X).exp()),
    "sign": X.sign(),
    "sin": X.sin(),
    "square": X**2,
    "tanh": X.tanh(),
}
CASES: list[Case] = [
    *((kind, {"x": X, "y": Y}, answer) for kind, answer in OF_TWO.items()),
    *((kind, {"x": X}, answer) for kind, answer in OF_ONE.items()),
    ("add", {"x": X, "y": tensor(2.0)}, X + 2),
    ("pow", {"x": POSITIVE, "y": tensor(1.5)}, POSITIVE**1.5),
    ("logical_and", {"x": X > 0, "y": Y > 0}, (X > 0) & (Y > 0)),
    ("logical_or", {"x": X > 0, "y": Y > 0}, (X > 0) | (Y > 0)),
    ("logical_not", {"x": X > 0}, X <= 0),
    ("sqrt", {"x": POSITIVE}, POSITIVE**0.5),
    ("rsqrt", {"x": POSITIVE}, POSITIVE**-0.5),
    ("rsqrt", {"x": POSITIVE, "epsilon": tensor(0.5)}, (POSITIVE + 0.5) ** -0.5),
    ("log", {"x": POSITIVE}, POSITIVE.log()),
    ("log", {"x": POSITIVE, "epsilon": tensor(0.5)}, (POSITIVE + 0.5).log()),
    ("clip", {"x": X, "alpha": tensor(-0.5), "beta": tensor(1.0)}, X.clamp(-0.5, 1)),
    ("gelu", {"x": X}, F.gelu(X)),
    ("gelu", {"x": X, "mode": "TANH_APPROXIMATION"}, F.gelu(X, approximate="tanh")),
    ("select", {"cond": X > 0, "a": X, "b": Y}, torch.where(X > 0, X, Y)),
    ("softmax", {"x": X}, X.softmax(-1)),
    ("softmax", {"x": X, "axis": ints(1)[0]}, X.softmax(1)),
    ("cast", {"x": EVEN, "dtype": "int32"}, EVEN.int()),
    ("cast", {"x": COUNTS, "dtype": "fp32"}, COUNTS.float()),
    ("cast", {"x": COUNTS, "dtype": "fp16"}, COUNTS.float()),
    ("cast", {"x": EVEN, "dtype": "bool"}, EVEN != 0),
    ("cast", {"x": ints(40000, 5), "dtype": "int16"}, ints(40000 - 65536, 5)),
    ("cast", {"x": ints(40000, 70000), "dtype": "uint16"}, ints(40000, 70000 - 65536)),
    ("cast", {"x": ints(200), "dtype": "int8"}, ints(200 - 256)),
    ("cast", {"x": ints(300), "dtype": "uint8"}, ints(300 - 256)),
    ("reduce_sum", {"x": X}, X.sum()),
    ("reduce_sum", {"x": X, "axes": ints(-1), "keep_dims": NO}, X.sum(-1)),
    ("reduce_mean", {"x": X, "axes": ints(1, 2), "keep_dims": YES}, X.mean((1, 2), keepdim=True)),
    ("reduce_max", {"x": X, "axes": ints(0, 3), "keep_dims": NO}, X.max(3).values.max(0).values),
    ("reduce_min", {"x": X, "axes": ints(2), "keep_dims": YES}, X.min(2, keepdim=True).values),
    ("reshape", {"x": X, "shape": ints(2, -1, 6)}, X.reshape(2, 12, 6)),
    ("reshape", {"x": X, "shape": ints(0, 0, 24)}, X.reshape(2, 3, 24)),
    ("transpose", {"x": X, "perm": ints(0, 2, 3, 1)}, X.movedim(1, -1)),
    ("expand_dims", {"x": X, "axes": ints(-1, 1)}, X[:, None, ..., None]),
    ("squeeze", {"x": X[:1, :1]}, X[0, 0]),
    ("squeeze", {"x": X[:1, :1], "axes": ints(1)}, X[:1, 0]),
    ("concat", {"values": (X, Y), "axis": ints(1)[0]}, torch.cat((X, Y), 1)),
    ("concat", {"values": (X, Y), "axis": ints(-1)[0], "interleave": NO}, torch.cat((X, Y), -1)),
    (
        "concat",
        {"values": (X, Y), "axis": ints(-1)[0], "interleave": YES},
        torch.stack((X, Y), -1).flatten(-2),
    ),
    ("stack", {"values": (X, Y), "axis": ints(2)[0]}, torch.stack((X, Y), 2)),
    ("split", {"x": X, "axis": ints(3)[0], "num_splits": ints(2)[0]}, (X[..., :3], X[..., 3:])),
    ("split", {"x": X, "axis": ints(-1)[0], "split_sizes": ints(2, 4)}, (X[..., :2], X[..., 2:])),
    ("tile", {"x": X, "reps": ints(1, 2, 1, 1)}, torch.cat((X, X), 1)),
    ("pad", {"x": X, "pad": ints(1, 0, 2, 3)}, F.pad(X, (2, 3, 1, 0))),
    (
        "pad",
        {"x": X, "pad": ints(1, 2), "mode": "constant", "constant_val": tensor(7.0)},
        F.pad(X, (1, 2), value=7),
    ),
    ("slice_by_index", {"x": X, "begin": ints(0, 1, 0, 2), "end": ints(2, 3, 4, 5)}, X[:, 1:, :, 2:5]),
    (
        "slice_by_index",
        {"x": X, "begin": ints(0, 0, 1, 0), "end": ints(2, 3, 4, 6), "stride": ints(1, 1, 2, 3)},
        X[:, :, 1::2, ::3],
    ),
    (
        "slice_by_index",
        {
            "x": X,
            "begin": ints(1, 1, 1, -2),
            "end": ints(0, 2, 1, 3),
            "begin_mask": tensor([True, False, True, False]),
            "end_mask": tensor([True, False, True, True]),
            "squeeze_mask": tensor([False, True, False, False]),
        },
        X[:, 1, :, -2:],
    ),
    ("slice_by_size", {"x": X, "begin": ints(0, 1, 0, 2), "size": ints(-1, 1, 4, 3)}, X[:, 1:2, :, 2:5]),
    ("gather", {"x": X, "indices": ints(1, 0)}, X.flip(0)),
    ("gather", {"x": X, "indices": ints(2, -1), "axis": ints(1)[0]}, X[:, [2, 2]]),
    (
        "gather",
        {
            "x": X,
            "indices": tensor([[3, 0], [1, 1]]),
            "axis": ints(-1)[0],
            "batch_dims": ints(0)[0],
            "validate_indices": NO,
        },
        X[..., tensor([[3, 0], [1, 1]])],
    ),
    ("linear", {"x": X, "weight": KERNEL.flatten(1)[:, :6]}, X @ KERNEL.flatten(1)[:, :6].T),
    (
        "linear",
        {"x": X, "weight": KERNEL.flatten(1)[:, :6], "bias": BIAS},
        X @ KERNEL.flatten(1)[:, :6].T + BIAS,
    ),
    ("matmul", {"x": X, "y": Y.mT}, X @ Y.mT),
    ("matmul", {"x": X, "y": Y, "transpose_y": YES}, X @ Y.mT),
    ("matmul", {"x": X, "y": Y, "transpose_x": YES, "transpose_y": NO}, X.mT @ Y),
    ("conv", {"x": X, "weight": KERNEL}, F.conv2d(X, KERNEL)),
    (
        "conv",
        {
            "x": X,
            "weight": KERNEL,
            "bias": BIAS,
            "strides": ints(2, 1),
            "pad_type": "custom",
            "pad": ints(1, 2, 3, 0),
        },
        F.conv2d(F.pad(X, (3, 0, 1, 2)), KERNEL, BIAS, (2, 1)),
    ),
    (
        "conv",
        {"x": X, "weight": KERNEL[:6, :1, :2], "groups": ints(3)[0], "dilations": ints(2, 3)},
        F.conv2d(X, KERNEL[:6, :1, :2], groups=3, dilation=(2, 3)),
    ),
    (
        "conv_transpose",
        {
            "x": X,
            "weight": KERNEL[:3],
            "bias": BIAS[:3],
            "strides": ints(2, 3),
            "pad": ints(0, 0, 0, 0),
            "output_shape": ints(2, 3, 9, 17),
        },
        F.conv_transpose2d(X, KERNEL[:3], BIAS[:3], (2, 3)),
    ),
    (
        "conv_transpose",
        {
            "x": X,
            "weight": KERNEL[:3, :1],
            "groups": ints(3)[0],
            "dilations": ints(2, 1),
            "pad_type": "valid",
        },
        F.conv_transpose2d(X, KERNEL[:3, :1], groups=3, dilation=(2, 1)),
    ),
    ("layer_norm", {"x": X, "axes": ints(-1)}, F.layer_norm(X, [6])),
    (
        "layer_norm",
        {"x": X, "axes": ints(-1), "gamma": BIAS[:6], "beta": BIAS[1:7], "epsilon": tensor(0.1)},
        F.layer_norm(X, [6], BIAS[:6], BIAS[1:7], 0.1),
    ),
    ("layer_norm", {"x": X, "axes": ints(2, 3)}, F.layer_norm(X, [4, 6])),
    (
        "layer_norm",
        {"x": X, "axes": ints(1), "gamma": BIAS[:3], "beta": BIAS[:3], "epsilon": tensor(0.1)},
        moved(X, lambda x: F.layer_norm(x, [3], BIAS[:3], BIAS[:3], 0.1)),
    ),
    (
        "batch_norm",
        {"x": X, "mean": BIAS[:3], "variance": BIAS[:3] ** 2},
        F.batch_norm(X, BIAS[:3], BIAS[:3] ** 2),
    ),
    (
        "batch_norm",
        {
            "x": X,
            "mean": BIAS[:3],
            "variance": BIAS[:3] ** 2,
            "gamma": BIAS[1:4],
            "beta": BIAS[2:5],
            "epsilon": tensor(0.1),
        },
        F.batch_norm(X, BIAS[:3], BIAS[:3] ** 2, BIAS[1:4], BIAS[2:5], eps=0.1),
    ),
    (
        "scaled_dot_product_attention",
        {"query": HEADS[0], "key": HEADS[1], "value": HEADS[2]},
        (HEADS[0] @ HEADS[1].mT / 2).softmax(-1) @ HEADS[2],
    ),
    (
        "scaled_dot_product_attention",
        {"query": HEADS[0], "key": HEADS[1], "value": HEADS[2], "attn_mask": MASK},
        (HEADS[0] @ HEADS[1].mT / 2 + MASK).softmax(-1) @ HEADS[2],
    ),
    (
        "upsample_nearest_neighbor",
        {"x": X, "scale_factor_height": tensor(2.0), "scale_factor_width": tensor(3.0)},
        X.repeat_interleave(2, 2).repeat_interleave(3, 3),
    ),
    (
        "upsample_bilinear",
        {"x": X, "scale_factor_height": tensor(1.5001), "scale_factor_width": tensor(2.0)},
        F.interpolate(X, size=(6, 12), mode="bilinear"),
    ),
    (
        "upsample_bilinear",
        {
            "x": X,
            "scale_factor_height": tensor(2.0),
            "scale_factor_width": tensor(2.0),
            "align_corners": YES,
            "half_pixel_centers": NO,
        },
        F.interpolate(X, size=(8, 12), mode="bilinear", align_corners=True),
    ),
    (
        "constexpr_affine_dequantize",
        {
            "quantized_data": ints(1, 2, 3, 4).reshape(2, 2),
            "zero_point": ints(1, 2),
            "scale": tensor([2.0, 3.0]),
            "axis": ints(0)[0],
        },
        tensor([[0.0, 2.0], [3.0, 6.0]]),
    ),
    (
        "constexpr_blockwise_shift_scale",
        {
            "data": ints(1, 2, 3, 4).reshape(1, 4),
            "scale": tensor([[2.0, 3.0]]),
            "offset": ints(1, 0).reshape(1, 2),
        },
        tensor([[0.0, 2.0, 9.0, 12.0]]),
    ),
    (
        "constexpr_blockwise_shift_scale",
        {"data": ints(1, 2)[None], "scale": tensor([[2.0]])},
        tensor([[2.0, 4.0]]),
    ),
    (
        "constexpr_lut_to_dense",
        {"indices": ints(0, 3, 1, 2).reshape(2, 2), "lut": TABLE.reshape(2, 1, 4, 1)},
        tensor([[0.5, 4.0], [3.0, 5.0]]),
    ),
    (
        "constexpr_lut_to_dense",
        {"indices": ints(0b10_01_11_00), "lut": TABLE[0], "shape": ints(2, 2)},
        tensor([[0.5, 4.0], [-1.0, 2.0]]),
    ),
    (
        "constexpr_sparse_to_dense",
        {"nonzero_data": tensor([5.0, 6.0]), "mask": ints(0, 1, 1, 0).reshape(2, 2)},
        tensor([[0.0, 5.0], [6.0, 0.0]]),
    ),
    (
        "constexpr_sparse_to_dense",
        {"nonzero_data": tensor([5.0, 6.0]), "mask": ints(0b0110), "shape": ints(2, 2)},
        tensor([[0.0, 5.0], [6.0, 0.0]]),
    ),
    ("constexpr_cast", {"source_val": X.half(), "output_dtype": "fp32"}, X.half().float()),
]


def test_every_operator_and_argument_has_a_case() -> None:
    assert mil_evaluate.ROOMS
    seen = {(kind, argument) for kind, arguments, _ in CASES for argument in arguments}
    known = {(kind, name) for kind, function in OPERATORS.items() for name in signature(function).parameters}
    # A vector axis is refused with vectors and means nothing without them.
    assert known - seen == {("constexpr_lut_to_dense", "vector_axis")} and seen <= known


@pytest.mark.parametrize(
    ("kind", "arguments", "answer"), CASES, ids=[f"{kind}-{i}" for i, (kind, _, _) in enumerate(CASES)]
)
def test_it_is_what_torch_says(kind: str, arguments: dict[str, Any], answer: Any) -> None:
    wanted = answer if isinstance(answer, tuple) else (answer,)
    got = call(kind, arguments)
    assert len(got) == len(wanted)
    for mine, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "arguments", "fact"),
    [
        ("einsum", {"x": X}, "operator einsum: the evaluator does not know it"),
        ("relu", {"x": X, "y": Y}, "operator relu: the evaluator does not know its argument 'y'"),
        ("add", {"x": X}, "operator add: its argument 'y' is missing"),
        ("gelu", {"x": X, "mode": "SIGMOID_APPROXIMATION"}, "mode SIGMOID_APPROXIMATION is not implemented"),
        ("cast", {"x": X, "dtype": "fp64"}, "dtype fp64"),
        ("pad", {"x": X, "pad": ints(1, 1), "mode": "reflect"}, "mode reflect"),
        ("conv", {"x": X, "weight": KERNEL, "pad_type": "same"}, "pad_type same"),
        ("conv", {"x": X[0], "weight": KERNEL}, "rank 3"),
        ("conv_transpose", {"x": X, "weight": KERNEL[:3], "pad": ints(1, 1, 1, 1)}, "padding"),
        ("conv_transpose", {"x": X, "weight": KERNEL[:3], "output_shape": ints(1, 1, 1, 1)}, "output_shape"),
        ("layer_norm", {"x": X, "axes": ints(2)}, r"axes \[2\] of 4"),
        ("gather", {"x": X, "indices": ints(2)}, "an index outside the axis"),
        ("gather", {"x": X, "indices": ints(0), "batch_dims": ints(1)[0]}, "batch_dims"),
        ("squeeze", {"x": X, "axes": ints(0)}, "an axis longer than 1"),
        (
            "slice_by_index",
            {"x": X, "begin": ints(0, 0, 0, 5), "end": ints(2, 3, 4, 0), "stride": ints(1, 1, 1, -1)},
            "a stride below 1",
        ),
        ("upsample_nearest_neighbor", {"x": X, "scale_factor_width": tensor(1.5)}, "no integer"),
        ("upsample_bilinear", {"x": X, "align_corners": NO, "half_pixel_centers": NO}, "half_pixel_centers"),
        (
            "constexpr_lut_to_dense",
            {"indices": ints(0, 1), "lut": TABLE.reshape(1, 4, 2), "vector_axis": ints(0)[0]},
            "with vectors",
        ),
        (
            "constexpr_blockwise_shift_scale",
            {"data": ints(1, 2, 3)[None], "scale": tensor([[1.0, 2.0]])},
            "blocks",
        ),
        ("constexpr_cast", {"source_val": X, "output_dtype": "bf16"}, "output_dtype bf16"),
    ],
)
def test_what_is_not_implemented_is_refused(kind: str, arguments: dict[str, Any], fact: str) -> None:
    with pytest.raises(CheckError, match=fact):
        call(kind, arguments)
