"""Prompts of the tracker's mask decoder: clicks and corners to tokens, a mask to features."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam3_edge.spec import ModelConfig

from .layers import ChannelNorm

MASK_CHANNELS = 16  # of the mask prompt on its way to the grid: SAM's own


def fourier(places: Tensor, matrix: Tensor) -> Tensor:
    """Random Fourier features of places [..., 2] in [0, 1], x before y: [..., D]."""
    angles = (2 * places - 1) @ matrix * (2 * math.pi)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


class MaskPrompt(nn.Module):
    """Mask logits [B, 1, 4G, 4G] -> features [B, D, G, G]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        widths = (1, MASK_CHANNELS // 4, MASK_CHANNELS)
        self.convs = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 2, 2) for i in range(2))
        self.norms = nn.ModuleList(ChannelNorm(width) for width in widths[1:])
        self.project = nn.Conv2d(MASK_CHANNELS, dim, 1)

    def forward(self, mask: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            mask = F.gelu(norm(conv(mask)))
        return self.project(mask)


class SamPrompts(nn.Module):
    """Points and a mask, as the mask decoder reads them."""

    kinds: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, self.size = config.dim, config.image_size
        self.matrix = nn.Parameter(torch.zeros(2, dim // 2))
        self.labels = nn.Parameter(torch.zeros(4, dim))
        self.nowhere = nn.Parameter(torch.zeros(1, dim))
        self.no_mask = nn.Parameter(torch.zeros(1, dim))
        self.mask = MaskPrompt(dim)
        self.register_buffer("kinds", torch.arange(-1, 4).float(), persistent=False)

    def point_tokens(self, points: Tensor, labels: Tensor) -> Tensor:
        """points [B, K, 2] in pixels of the model's image, labels [B, K] from -1 to 3 -> [B, K, D]."""
        kind = F.relu(1 - (labels[..., None].float() - self.kinds).abs())  # one-hot
        place = fourier((points + 0.5) / self.size, self.matrix)
        return place * (1 - kind[..., :1]) + kind @ torch.cat((self.nowhere, self.labels))

    def without_points(self) -> Tensor:
        """The tokens [1, 2, D] that stand for no point: an empty one, and the one that closes every list."""
        return self.nowhere.expand(2, -1)[None]

    def without_mask(self) -> Tensor:
        """What stands for no mask, at every place: [1, D, 1, 1]."""
        return self.no_mask[..., None, None]
