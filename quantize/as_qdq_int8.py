"""Scheme `qdq_int8`: QuantizeLinear and DequantizeLinear around products and convolutions, for TensorRT.

TensorRT's int8 is symmetric with zero point 0, and since version 11 precision lies in the graph alone. What
is not quantized stays fp32. No engine of it was run here: `sam3-edge build` judges it on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nncf
import numpy as np
import onnx
import onnx_ir as ir

from sam3_edge import registry
from sam3_edge.errors import CheckError
from sam3_edge.spec import ModelConfig

from .accuracy_control import Check
from .as_w8a8 import ROWS as ROWS_OF_W8A8
from .as_w8a8 import memory as memory
from .feeds import Feeds
from .keep import Keep, Row
from .nncf_graph import quantize_graph
from .nncf_part import PRODUCTS
from .onnx_file import rewriting
from .tally import Tally

TARGETS = frozenset({"tensorrt"})
ABOUT = "symmetric int8 products and convolutions, zero point 0, as explicit Q/DQ"
NEEDS = "pictures and phrases"
TOOLS = ("nncf",)
CALIBRATED = True
ROUNDING = ("QuantizeLinear", "DequantizeLinear")


def ROWS(config: ModelConfig) -> tuple[Row, ...]:
    """As of `w8a8`; here every kept part stays fp32."""
    return ROWS_OF_W8A8(config)


@dataclass(frozen=True)
class Config:
    """`smooth`: how much of the activations' range SmoothQuant moves into weights, 0 to 1; -1: none."""

    smooth: float = 0.95


def compress(
    path: Path,
    config: Config | None = None,
    *,
    keep: Keep | None = None,
    feeds: Sequence[Feeds] = (),
    check: Check | None = None,
) -> Tally:
    """Rewrite the typed fp32 file at `path` in place; without feeds it stays as it is.

    Raises `CheckError` for a zero point that TensorRT would not take, or if its builder refuses the graph.
    """
    config, tally = config or Config(), Tally()
    if not feeds:
        tally.keep("calibration never reached this graph")
        return tally
    smooth = nncf.AdvancedSmoothQuantParameters(matmul=config.smooth)
    how = nncf.AdvancedQuantizationParameters(smooth_quant_alphas=smooth)
    kind = nncf.QuantizationPreset.PERFORMANCE  # symmetric
    whole = check and partial(check_signed, check)
    quantize_graph(path, keep or Keep(), feeds, PRODUCTS, tally, whole, advanced_parameters=how, preset=kind)
    make_signed(path)
    if off := zero_points(path):
        raise CheckError(f"qdq_int8: {off[0]} has a zero point other than 0, which TensorRT does not take")
    checker = registry.load_module("export", "tensorrt_check")
    if checker.builder_version() is not None:
        checker.check([path], build=True)
    return tally


def check_signed(check: Check, model: onnx.ModelProto, taken: tuple[Row, ...]) -> float:
    """What `check` says of NNCF's model as it will be; what was taken back stays fp32 by itself."""
    return check(model, make_signed)


def make_signed(path: Path) -> None:
    """uint8 from 0 on, as NNCF has it behind a ReLU, becomes int8 over the same range: half the levels."""
    with rewriting(path) as model:
        done: set[str] = set()
        for node in model.graph:
            if node.op_type not in ROUNDING or len(node.inputs) < 3:
                continue
            scale, zero = node.inputs[1], node.inputs[2]
            if scale is None or zero is None or scale.const_value is None or zero.const_value is None:
                continue
            whole = zero.const_value.numpy()
            if whole.dtype != np.uint8 or whole.any() or zero.name in done:
                continue
            done.add(str(zero.name))
            step = scale.const_value.numpy() * np.float32(255 / 127)
            scale.const_value = ir.tensor(step.astype(np.float32), name=scale.name)
            zero.const_value = ir.tensor(whole.astype(np.int8), name=zero.name)
            zero.dtype = ir.DataType.INT8
            for value in (
                out for user, _ in zero.uses() if user.op_type == ROUNDING[0] for out in user.outputs
            ):
                value.dtype = ir.DataType.INT8


def zero_points(path: Path) -> list[str]:
    """Names of the zero points in the graph that are not 0, or not int8."""
    graph = onnx.load(str(path)).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    rounding = [node for node in graph.node if node.op_type in ROUNDING]
    points = {node.input[2] for node in rounding if len(node.input) > 2}
    return sorted(
        name for name in points if name in stored and (stored[name].dtype != np.int8 or stored[name].any())
    )
