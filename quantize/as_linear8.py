"""Scheme `linear8`: int8 weights with a scale for each channel: half of fp16, from iOS 16 on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .feeds import Feeds
from .keep import TABLE, Keep
from .linear import TOOLS as TOOLS
from .linear import Linear, quantize_linearly
from .tally import Tally

TARGETS = frozenset({"coreml"})
ABOUT = "int8 weights, a scale for each channel"
NEEDS = "nothing"
ROWS = TABLE


@dataclass(frozen=True)
class Config(Linear):
    """As `Linear`."""

    bits: int = 8
    block: int = 0


def compress(
    path: Path, config: Config | None = None, *, keep: Keep | None = None, feeds: Sequence[Feeds] = ()
) -> Tally:
    """Rewrite the package at `path` in place."""
    return quantize_linearly(path, config or Config(), keep)
