"""Scheme `palette6`: 6-bit indices into a palette of each weight: 3/8 of fp16, from iOS 16 on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .feeds import Feeds
from .keep import TABLE, Keep
from .palettes import TOOLS as TOOLS
from .palettes import Palette, palettize
from .tally import Tally

TARGETS = frozenset({"coreml"})
ABOUT = "palettes of 64 values, one a weight"
NEEDS = "nothing"
ROWS = TABLE


@dataclass(frozen=True)
class Config(Palette):
    """As `Palette`."""

    bits: int = 6
    group: int = 0


def compress(
    path: Path, config: Config | None = None, *, keep: Keep | None = None, feeds: Sequence[Feeds] = ()
) -> Tally:
    """Rewrite the package at `path` in place."""
    return palettize(path, config or Config(), keep)
