"""Student `toy`: a small convolutional trunk, for `shapes`.

Patches of half the teacher's side, one block on them, then blocks on the teacher's grid. A block mixes places
by a wide depthwise convolution and channels by two pointwise ones (as ConvNeXt, Liu et al. 2022). Of the
built-in teacher's backbone it takes 23 % of the multiplications.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from sam3_edge.errors import UsageError
from sam3_edge.spec import ModelConfig

from .layers import ChannelNorm

SETTINGS: dict[str, Any] = {"width": 40, "blocks": 2, "reach": 7}


class ConvBlock(nn.Module):
    """Residual block on [B, C, H, W]: places, then channels."""

    def __init__(self, dim: int, wide: int, reach: int) -> None:
        super().__init__()
        self.places = nn.Conv2d(dim, dim, reach, padding=reach // 2, groups=dim)
        self.norm = ChannelNorm(dim)
        self.widen, self.narrow = nn.Conv2d(dim, wide, 1), nn.Conv2d(wide, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(F.gelu(self.widen(self.norm(self.places(x)))))


class Toy(nn.Module):
    """image [B, 3, H, H] in [-1, 1] -> trunk feature [B, G * G, C]."""

    def __init__(self, config: ModelConfig, *, width: int, blocks: int, reach: int) -> None:
        super().__init__()
        half, dim = config.patch_size // 2, config.trunk_dim
        self.patch, self.norm = nn.Conv2d(3, width, half, half), ChannelNorm(width)
        self.early = ConvBlock(width, 2 * width, reach)
        self.merge = nn.Conv2d(width, dim, 2, 2)
        self.blocks = nn.ModuleList(ConvBlock(dim, 3 * dim // 2, reach) for _ in range(blocks))
        self.last = nn.Conv2d(dim, dim, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.merge(self.early(self.norm(self.patch(image))))
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.last(x).flatten(2).transpose(1, 2)
        return out


def build(config: ModelConfig, *, width: int, blocks: int, reach: int) -> nn.Module:
    """The trunk. Raises `UsageError` where patches cannot be halved."""
    if config.patch_size % 2 or reach % 2 == 0 or min(width, blocks, reach) < 1:
        raise UsageError(
            f"student toy: want an even patch size and positive numbers with an odd reach, got patch "
            f"{config.patch_size}, width {width}, blocks {blocks}, reach {reach}"
        )
    return Toy(config, width=width, blocks=blocks, reach=reach)
