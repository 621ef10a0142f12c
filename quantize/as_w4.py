"""Scheme `w4`: 4-bit weights in groups where they survive, else int8 as of `w8`. For size, not speed.

ONNX Runtime unpacks 4 bits inside MatMulNBits and multiplies in fp32: 0.85 to 1.05 of the speed of fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnxruntime.quantization import matmul_nbits_quantizer as nbits

from sam3_edge.errors import UsageError
from sam3_edge.spec import ModelConfig

from .as_w8 import multiply
from .feeds import Feeds
from .keep import TABLE, Keep, Row, edges
from .onnx_file import constant, rewriting, succeed
from .onnx_weights import Weight, rewrite_weights, store
from .tally import Tally

TARGETS = frozenset({"onnx"})
ABOUT = "4-bit weights in groups of 32 where they survive, the rest as w8"
NEEDS = "nothing"
TOOLS = ("onnxruntime",)
DOMAIN = "com.microsoft"


def ROWS(config: ModelConfig) -> tuple[Row, ...]:
    """The first and the last block of trunk and text encoder stay at 8 bits."""
    return (*edges("backbone", config.trunk_layers, "w8"), *edges("text", config.text_layers, "w8"), *TABLE)


@dataclass(frozen=True)
class Config:
    """`block`: inputs that share a scale and a zero. `bits`: 4, or 2.

    `error`: a weight whose rounding changes it by more, ||w' - w|| / ||w||, gets 8 bits. Numbers without
    outliers come to 0.09 in groups of 32.
    """

    block: int = 32
    bits: int = 4
    error: float = 0.12
    least: int = 1024

    def __post_init__(self) -> None:
        if self.bits not in (2, 4):
            raise UsageError(f"w4 with {self.bits} bits: want 4, or 2; w8 is a scheme of its own")
        if self.block not in (16, 32, 64, 128, 256):
            raise UsageError(f"w4 with blocks of {self.block}: want 16, 32, 64, 128 or 256")


def compress(
    path: Path, config: Config | None = None, *, keep: Keep | None = None, feeds: Sequence[Feeds] = ()
) -> Tally:
    """Rewrite the ONNX file at `path` in place."""
    config = config or Config()
    with rewriting(path) as model:
        model.graph.opset_imports[DOMAIN] = 1
        return rewrite_weights(
            model.graph, keep or Keep(), config.least, partial(group, config=config), store
        )


def group(graph: ir.Graph, weight: Weight, row: Row | None, *, config: Config) -> str:
    """The products of a weight as MatMulNBits; as int8 where the keep-list or the rounding asks for it."""
    numbers = weight.numbers
    inputs, outputs = numbers.shape
    if row is not None or inputs % config.block:
        return multiply(graph, weight, row)
    algorithm = nbits.DefaultWeightOnlyQuantConfig(block_size=config.block, bits=config.bits)
    packed, scales, zeros = nbits.DefaultWeightOnlyQuantizer(algorithm).qbits_block_quant(numbers)
    if lost(numbers, packed, scales, zeros, config) > config.error:
        return multiply(graph, weight, row)
    name = str(weight.value.name)
    made = [
        constant(graph, f"{name}/{part}", array)
        for part, array in (("packed", packed), ("scales", scales), ("zeros", zeros))
    ]
    attributes = {"K": inputs, "N": outputs, "bits": config.bits, "block_size": config.block}
    for node in weight.nodes:
        product = ir.node("MatMulNBits", [node.inputs[0], *made], attributes, domain=DOMAIN, name=node.name)
        succeed(graph, node, [product])
    return f"MatMul {config.bits} bits"


def lost(
    numbers: np.ndarray, packed: np.ndarray, scales: np.ndarray, zeros: np.ndarray, config: Config
) -> float:
    """How far the packed numbers are from these [K, N], relative to their norm."""
    per_byte = 8 // config.bits
    shifts = np.arange(per_byte, dtype=np.uint8) * config.bits
    mask, columns, blocks = (1 << config.bits) - 1, packed.shape[0], packed.shape[1]
    whole = (packed[..., None] >> shifts & mask).reshape(columns, blocks, -1).astype(np.float32)
    offset = (zeros[..., None] >> shifts & mask).reshape(columns, -1)[:, :blocks, None]
    back = ((whole - offset) * scales.reshape(columns, blocks, 1)).reshape(columns, -1).T
    return float(np.linalg.norm(back - numbers) / max(float(np.linalg.norm(numbers)), 1e-12))
