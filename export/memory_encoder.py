"""Memory encoder: a frame's features and an object's mask to the memory of both."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam3_edge.spec import ModelConfig

from .layers import MLP, ChannelNorm

STEPS = 4  # halvings from the mask's 16G to the grid; each gives four channels for one
SCALE, SHIFT = 20.0, -10.0  # 0 and 1 become -10 and 10: what the mask's convolutions were trained on


class MaskDownsampler(nn.Module):
    """Mask [B, 1, 16G, 16G] -> [B, D, G, G]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        widths = [4**i for i in range(STEPS + 1)]
        self.convs = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 3, stride=2, padding=1) for i in range(STEPS)
        )
        self.norms = nn.ModuleList(ChannelNorm(width) for width in widths[1:])
        self.project = nn.Conv2d(widths[-1], dim, 1)

    def forward(self, mask: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            mask = F.gelu(norm(conv(mask)))
        return self.project(mask)


class FuserBlock(nn.Module):
    """ConvNeXt block on [B, D, G, G]: depthwise 7x7, norm, MLP, scaled and added."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, 4 * dim, dim, gelu=True)
        self.scale = nn.Parameter(torch.full((dim,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        y = self.mlp(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))
        return x + (self.scale * y).permute(0, 3, 1, 2)


class MemoryEncoder(nn.Module):
    """features [1, D, G, G], mask [B, 1, 16G, 16G] in [0, 1], present [B] -> memory [B, T, M].

    A pooled memory is the mean of the cells that share a token: keys and values are linear in it, so that
    pooling it once, here, is the same as pooling them on every frame.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pool = config.memory_pool
        self.mask = MaskDownsampler(config.dim)
        self.features = nn.Conv2d(config.dim, config.dim, 1)
        self.fuser = nn.ModuleList(FuserBlock(config.dim) for _ in range(config.fuser_layers))
        self.project = nn.Conv2d(config.dim, config.memory_dim, 1)
        self.absent = nn.Parameter(torch.zeros(1, config.memory_dim))

    def forward(self, features: Tensor, mask: Tensor, present: Tensor) -> Tensor:
        x = self.features(features) + self.mask(mask * SCALE + SHIFT)
        for block in self.fuser:
            x = block(x)
        x = self.project(x)
        if self.pool > 1:
            x = F.avg_pool2d(x, self.pool)
        return x.flatten(2).transpose(1, 2) + (1 - present)[:, None, None] * self.absent

    @torch.no_grad()
    def fold(self) -> None:
        """Pool inside the last product, in place: exact, and no operator more."""
        if self.pool == 1:
            return
        once, side = self.project, self.pool
        self.project = nn.Conv2d(once.in_channels, once.out_channels, side, stride=side)
        self.project.weight.copy_(once.weight.expand(-1, -1, side, side) / side**2)
        self.project.bias = once.bias
        self.pool = 1
