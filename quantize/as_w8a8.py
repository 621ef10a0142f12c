"""Scheme `w8a8`: int8 weights and activations with ranges from calibration, by NNCF, for ONNX Runtime.

First and last block have outliers that fixed ranges cut off: there and where calibration does not reach,
products are as of `w8`, their ranges taken as they run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nncf
import onnx
from nncf.quantization.advanced_parameters import OverflowFix

from sam3_edge.machine.vectors import adds_wide
from sam3_edge.spec import ModelConfig

from .accuracy_control import Check
from .as_w8 import multiply
from .feeds import Feeds
from .integer_kernels import bias_apart, one_for_each
from .keep import TABLE, Keep, Row, edges
from .nncf_graph import COPIES, quantize_graph
from .onnx_file import rewriting
from .onnx_parts import SHARD
from .onnx_weights import rewrite_weights, store
from .tally import Tally

TARGETS = frozenset({"onnx"})
ABOUT = "int8 weights and activations with fixed ranges: SmoothQuant, bias correction"
NEEDS = "pictures and phrases"
TOOLS = ("nncf", "onnxruntime")
CALIBRATED = True
# A quantized convolution would run in fp32 behind two DequantizeLinear, at 0.94 of the speed: ONNX Runtime
# has integers for it only if its result is rounded as well.
KINDS = ("MatMul", "Gemm")


def ROWS(config: ModelConfig) -> tuple[Row, ...]:
    """The first and the last block of the trunk keep ranges of their own for each picture."""
    return (*edges("backbone", config.trunk_layers, "w8"), *TABLE)


def memory(largest: int) -> int:
    """Bytes that quantizing a graph with so many bytes of weights takes: its shards go one by one."""
    return int(COPIES * min(largest, SHARD) + 2 * largest + 1e9)


@dataclass(frozen=True)
class Config:
    """`smooth`: how much of the activations' range SmoothQuant moves into weights, 0 to 1; -1: none."""

    smooth: float = 0.95
    least: int = 1024


def compress(
    path: Path,
    config: Config | None = None,
    *,
    keep: Keep | None = None,
    feeds: Sequence[Feeds] = (),
    check: Check | None = None,
) -> Tally:
    """Rewrite the ONNX file at `path` in place. Without feeds all products are as of `w8`."""
    config, keep, tally = config or Config(), keep or Keep(), Tally()
    if feeds:
        smooth = nncf.AdvancedSmoothQuantParameters(matmul=config.smooth)
        # NNCF's name for weights of half the range, for processors whose sums of full ones saturate.
        fix = None if adds_wide() else OverflowFix.ENABLE
        how = nncf.AdvancedQuantizationParameters(smooth_quant_alphas=smooth, overflow_fix=fix)
        kind = nncf.QuantizationPreset.MIXED
        whole = check and partial(check_finished, check, config, keep)
        taken = quantize_graph(path, keep, feeds, KINDS, tally, whole, advanced_parameters=how, preset=kind)
        keep = Keep((*taken, *keep.rows))
    rest = finish(config, keep, path)
    tally.compressed += rest.compressed
    return tally if feeds else rest


def finish(config: Config, keep: Keep, path: Path) -> Tally:
    """What NNCF left becomes as of `w8`, and the file is spelled so that integers run."""
    with rewriting(path) as model:
        rest = rewrite_weights(model.graph, keep, config.least, multiply, store)
        one_for_each(model.graph)
        bias_apart(model.graph)
    return rest


def check_finished(
    check: Check, config: Config, keep: Keep, model: onnx.ModelProto, taken: tuple[Row, ...]
) -> float:
    """What `check` says of NNCF's model, finished as it will be."""
    return check(model, partial(finish, config, Keep((*taken, *keep.rows))))
