"""Palettes for Core ML: each weight as indices into few values, found by k-means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sam3_edge.errors import UsageError

from .coreml_weights import LEAST, compress_package, optimizer
from .keep import Keep
from .tally import Tally

TOOLS = ("coremltools",)


@dataclass(frozen=True)
class Palette:
    """`bits` of an index. `group`: channels that share a palette; 0 for one palette a weight.

    Raises `UsageError` for a scale for each channel, which corrupts what coremltools skips.
    """

    bits: int
    group: int = 0
    per_channel_scale: bool = False

    def __post_init__(self) -> None:
        if self.per_channel_scale:
            raise UsageError(
                "a palette with a scale for each channel: coremltools leaves weights that it skips divided "
                "by their scales (issue 2777), and the Neural Engine takes no palette of rank 6: leave it out"
            )
        if self.bits not in (1, 2, 3, 4, 6, 8):
            raise UsageError(f"palettes of {self.bits} bits: want 1, 2, 3, 4, 6 or 8")


def palettize(path: Path, config: Palette, keep: Keep | None) -> Tally:
    """Rewrite the package at `path` in place."""
    coreml = optimizer()
    settings = coreml.OpPalettizerConfig(
        mode="kmeans",
        nbits=config.bits,
        granularity="per_grouped_channel" if config.group else "per_tensor",
        weight_threshold=LEAST - 1,
        **({"group_size": config.group} if config.group else {}),
    )
    return compress_package(
        path, keep or Keep(), coreml.palettize_weights, settings, grouped=bool(config.group)
    )
