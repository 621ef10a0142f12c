"""Graph `masks`: one mask for each chosen query, and one for the concept as a whole."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sam3_edge.spec import ModelConfig

from .layers import MLP, Attention


class Masks(nn.Module):
    """Fine features [B, D, 4G, 4G], middle features [B, D, 2G, 2G], encoded [B, G * G, D], the prompt and
    queries [B, Q, D] -> mask logits [B, Q, 4G, 4G], semantic logits [B, 1, 4G, 4G].

    The pixel embedding does not depend on the queries, so Q is the caller's to choose.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, self.grid = config.dim, config.grid
        self.prompt_norm = nn.LayerNorm(dim)
        self.prompt_attention = Attention(dim, config.heads)
        self.convs = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.GroupNorm(8, dim) for _ in range(2))
        self.instance, self.semantic = nn.Conv2d(dim, dim, 1), nn.Conv2d(dim, 1, 1)
        self.query = MLP(dim, dim, dim, dim)

    def embed_pixels(
        self, fine: Tensor, middle: Tensor, encoded: Tensor, prompt: Tensor, bias: Tensor
    ) -> Tensor:
        """The prompt's view of every pixel: [B, D, 4G, 4G]."""
        x = encoded + self.prompt_attention(self.prompt_norm(encoded), prompt, prompt, bias)
        x = x.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        for level, conv, norm in zip((middle, fine), self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(F.interpolate(x, scale_factor=2.0, mode="nearest") + level)))
        return x

    def forward(
        self,
        fine: Tensor,
        middle: Tensor,
        encoded: Tensor,
        prompt: Tensor,
        prompt_bias: Tensor,
        queries: Tensor,
    ) -> tuple[Tensor, Tensor]:
        pixels = self.embed_pixels(fine, middle, encoded, prompt, prompt_bias)
        instance = self.instance(pixels)
        masks = self.query(queries) @ instance.flatten(2)
        return masks.unflatten(2, instance.shape[-2:]), self.semantic(pixels)
