"""Graph `detector_features`: the trunk feature to three levels at stride 3.5, 7 and 14."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from sam3_edge.spec import ModelConfig


class Level(nn.Module):
    """One level of the pyramid: up-sampling, 1x1 to the model's width, 3x3."""

    def __init__(self, trunk_dim: int, dim: int, upsamplings: int) -> None:
        super().__init__()
        widths = [trunk_dim >> i for i in range(upsamplings + 1)]
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairwise(widths))
        self.project: nn.Module = nn.Conv2d(widths[-1], dim, 1)
        self.smooth = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.smooth(self.rise(x))

    def rise(self, x: Tensor) -> Tensor:
        """All but the last convolution."""
        for i, up in enumerate(self.up):
            x = up(x) if i == 0 else up(nn.functional.gelu(x))
        return self.project(x)

    @torch.no_grad()
    def fold(self) -> None:
        """Merge the last up-sampling with the 1x1 after it: nothing stands between them, so this is exact."""
        if not len(self.up) or isinstance(self.project, nn.Identity):
            return
        up, project = self.up[-1], self.project
        assert isinstance(up, nn.ConvTranspose2d) and isinstance(project, nn.Conv2d) and up.bias is not None
        mix = project.weight[:, :, 0, 0]
        merged = nn.ConvTranspose2d(up.in_channels, project.out_channels, 2, 2)
        merged.weight.copy_(torch.einsum("imhw,om->iohw", up.weight, mix))
        assert merged.bias is not None and project.bias is not None
        merged.bias.copy_(mix @ up.bias + project.bias)
        self.up[-1], self.project = merged, nn.Identity()


class Features(nn.Module):
    """Trunk feature [B, G * G, C] -> features at 4G, 2G and G, each [B, D, side, side]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.grid = config.grid
        self.levels = nn.ModuleList(Level(config.trunk_dim, config.dim, ups) for ups in (2, 1, 0))

    def forward(self, trunk_feature: Tensor) -> tuple[Tensor, ...]:
        x = self.as_grid(trunk_feature)
        return tuple(level(x) for level in self.levels)

    def as_grid(self, trunk_feature: Tensor) -> Tensor:
        """[B, G * G, C] -> [B, C, G, G]."""
        return trunk_feature.transpose(1, 2).unflatten(2, (self.grid, self.grid))

    def fold(self) -> None:
        """Apply the exact weight folds, in place. For lowering; a folded model is not saved."""
        for level in self.levels:
            assert isinstance(level, Level)
            level.fold()
