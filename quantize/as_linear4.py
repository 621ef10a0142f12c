"""Scheme `linear4`: int4 weights with a scale for every 32 inputs: a quarter of fp16 and a bit, iOS 18."""

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
ABOUT = "int4 weights, a scale for every 32 inputs"
NEEDS = "nothing"
ROWS = TABLE


@dataclass(frozen=True)
class Config(Linear):
    """As `Linear`."""

    bits: int = 4
    block: int = 32


def compress(
    path: Path, config: Config | None = None, *, keep: Keep | None = None, feeds: Sequence[Feeds] = ()
) -> Tally:
    """Rewrite the package at `path` in place."""
    return quantize_linearly(path, config or Config(), keep)
