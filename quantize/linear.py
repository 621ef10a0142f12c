"""Linear quantization for Core ML: each weight as integers with a scale for each channel or block."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sam3_edge.errors import UsageError

from .coreml_weights import LEAST, compress_package, optimizer
from .keep import Keep
from .tally import Tally

TOOLS = ("coremltools",)


@dataclass(frozen=True)
class Linear:
    """`bits` of an integer, 8 or 4. `block`: inputs that share a scale; 0 for one scale a channel."""

    bits: int
    block: int = 0

    def __post_init__(self) -> None:
        if self.bits not in (4, 8):
            raise UsageError(f"linear quantization in {self.bits} bits: Core ML has 4 and 8")
        if self.bits == 4 and not self.block:
            raise UsageError(
                "4 bits with one scale for a channel: 16 steps do not hold it; give a block, as of 32"
            )


def quantize_linearly(path: Path, config: Linear, keep: Keep | None) -> Tally:
    """Rewrite the package at `path` in place."""
    coreml = optimizer()
    settings = coreml.OpLinearQuantizerConfig(
        mode="linear_symmetric",
        dtype=f"int{config.bits}",
        granularity="per_block" if config.block else "per_channel",
        weight_threshold=LEAST - 1,
        **({"block_size": config.block} if config.block else {}),
    )
    grouped = bool(config.block) or config.bits < 8
    return compress_package(path, keep or Keep(), coreml.linear_quantize_weights, settings, grouped=grouped)
