"""Graph `backbone`: a picture to the trunk feature, the one tensor that a student must produce."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sam3_edge.spec import ModelConfig

from .layers import MLP, SelfAttention, rotary_angles

# The official trunk's; `transformers` has 1e-6 for the same weights, which moves the trunk feature by 3e-5.
EPS = 1e-5


def to_windows(x: Tensor, window: int) -> Tensor:
    """[B, G, G, C] -> [B * windows, window * window, C] within rank 4, the most that Core ML keeps fast."""
    batch, grid, _, dim = x.shape
    n = grid // window
    x = x.reshape(batch * n, window, n, window * dim).transpose(1, 2)
    return x.reshape(batch * n * n, window * window, dim)


def from_windows(x: Tensor, window: int, grid: int) -> Tensor:
    """The inverse of `to_windows`."""
    n, dim = grid // window, x.shape[-1]
    x = x.reshape(-1, n, window, window * dim).transpose(1, 2)
    return x.reshape(-1, grid, grid, dim)


class Block(nn.Module):
    """Pre-norm transformer block on a [B, G, G, C] map; attention in windows, or over the whole grid."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig, *, windowed: bool) -> None:
        super().__init__()
        self.window = config.window if windowed else config.grid
        self.attention_norm = nn.LayerNorm(config.trunk_dim, eps=EPS)
        self.attention = SelfAttention(config.trunk_dim, config.trunk_heads)
        self.mlp_norm = nn.LayerNorm(config.trunk_dim, eps=EPS)
        self.mlp = MLP(config.trunk_dim, config.trunk_mlp, config.trunk_dim, gelu=True)
        # Global layers see the pretraining range of positions, stretched over the larger grid.
        cos, sin = rotary_angles(
            self.window, config.trunk_dim // config.trunk_heads, config.window / self.window
        )
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        windows = to_windows(self.attention_norm(x), self.window)
        windows = self.attention(windows, angles=(self.cos, self.sin))
        x = x + from_windows(windows, self.window, x.shape[1])
        return x + self.mlp(self.mlp_norm(x))


class Backbone(nn.Module):
    """The plain ViT of SAM 3: image [B, 3, H, H] in [-1, 1] -> trunk feature [B, G * G, C]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.grid = config.grid
        self.patch = nn.Conv2d(3, config.trunk_dim, config.patch_size, config.patch_size, bias=False)
        side = config.pretrain_size // config.patch_size
        self.position = nn.Parameter(torch.zeros(1, side, side, config.trunk_dim))
        self.norm = nn.LayerNorm(config.trunk_dim, eps=EPS)
        self.blocks = nn.ModuleList(
            Block(config, windowed=layer not in config.global_layers) for layer in range(config.trunk_layers)
        )

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch(image).permute(0, 2, 3, 1)
        repeats = -(
            -self.grid // self.position.shape[1]
        )  # the reference tiles positions, it does not interpolate
        position = self.position.tile(1, repeats, repeats, 1)[:, : self.grid, : self.grid]
        x = self.norm(x + position)
        for block in self.blocks:
            x = block(x)
        return x.flatten(1, 2)
