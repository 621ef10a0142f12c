"""Scheme `palette4`: 4-bit indices into palettes, one for 16 channels: a quarter of fp16, from iOS 18 on."""

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
ABOUT = "palettes of 16 values, one for every 16 channels"
NEEDS = "nothing"
ROWS = TABLE


@dataclass(frozen=True)
class Config(Palette):
    """As `Palette`."""

    bits: int = 4
    group: int = 16


def compress(
    path: Path, config: Config | None = None, *, keep: Keep | None = None, feeds: Sequence[Feeds] = ()
) -> Tally:
    """Rewrite the package at `path` in place."""
    return palettize(path, config or Config(), keep)
