"""The tracker's mask decoder: features and prompt tokens to four masks, their quality and a score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam3_edge.spec import ModelConfig

from .layers import MLP, Attention, ChannelNorm
from .sam_prompts import fourier

LAYERS = 2
MASKS = 4  # the single mask, then the three among which the best is chosen


class TwoWayLayer(nn.Module):
    """Post-norm: tokens to themselves, tokens to the picture, MLP, picture to the tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, heads = config.dim, config.sam_heads
        self.self_attention = Attention(dim, heads)
        self.to_image, self.to_tokens = (Attention(dim, heads, dim // 2) for _ in range(2))
        self.self_norm, self.image_norm, self.mlp_norm, self.tokens_norm = (
            nn.LayerNorm(dim) for _ in range(4)
        )
        self.mlp = MLP(dim, config.sam_mlp, dim)

    def forward(
        self, x: Tensor, image: Tensor, *, place: Tensor, image_place: Tensor, bias: Tensor, first: bool
    ) -> tuple[Tensor, Tensor]:
        if first:  # the tokens are still their own positions
            x = self.self_attention(x, x, x, bias)
        else:
            x = x + self.self_attention(x + place, x + place, x, bias)
        x = self.self_norm(x)
        key = image + image_place
        x = self.image_norm(x + self.to_image(x + place, key, image))
        x = self.mlp_norm(x + self.mlp(x))
        return x, self.tokens_norm(image + self.to_tokens(key, x + place, x, bias))


@dataclass(frozen=True)
class Decoded:
    """`tokens` [B, 4, D] and `weights` [B, 4, D / 8] of each mask, `pixels` [B, D / 8, 4G, 4G], `iou` [B, 4],
    `score` [B] the logit of whether the object is there.
    """

    tokens: Tensor
    weights: Tensor
    pixels: Tensor
    iou: Tensor
    score: Tensor


def draw(weights: Tensor, pixels: Tensor) -> Tensor:
    """Mask logits [B, N, 4G, 4G] from weights [B, N, D / 8]."""
    return (weights @ pixels.flatten(2)).unflatten(2, pixels.shape[-2:])


class MaskDecoder(nn.Module):
    """features [B, D, G, G] with the mask prompt added, prompt tokens [B, K, D] and their bias [B, K]."""

    cells: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, self.grid = config.dim, config.grid
        self.matrix = nn.Parameter(torch.zeros(2, dim // 2))
        self.score_token, self.iou_token = (nn.Parameter(torch.zeros(1, dim)) for _ in range(2))
        self.mask_tokens = nn.Parameter(torch.zeros(MASKS, dim))
        self.layers = nn.ModuleList(TwoWayLayer(config) for _ in range(LAYERS))
        self.to_image, self.norm = Attention(dim, config.sam_heads, dim // 2), nn.LayerNorm(dim)
        self.up = nn.ModuleList(
            (nn.ConvTranspose2d(dim, dim // 4, 2, 2), nn.ConvTranspose2d(dim // 4, dim // 8, 2, 2))
        )
        self.up_norm = ChannelNorm(dim // 4)
        self.mask_heads = nn.ModuleList(MLP(dim, dim, dim, dim // 8) for _ in range(MASKS))
        self.iou_head = MLP(dim, config.sam_score_dim, config.sam_score_dim, MASKS)
        self.score_head = MLP(dim, dim, dim, 1)
        place = (torch.arange(config.grid) + 0.5) / config.grid
        y, x = torch.meshgrid(place, place, indexing="ij")
        self.register_buffer("cells", torch.stack((x, y), dim=-1).flatten(0, 1), persistent=False)

    def converse(self, image: Tensor, prompt: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and picture after the transformer: [B, 6 + K, D] and [B, T, D]."""
        own = torch.cat((self.score_token, self.iou_token, self.mask_tokens))
        place = torch.cat((own.expand(image.shape[0], -1, -1), prompt.expand(image.shape[0], -1, -1)), dim=1)
        bias = F.pad(bias, (len(own), 0))[:, None, None]
        image_place = fourier(self.cells, self.matrix)
        x = place
        for i, layer in enumerate(self.layers):
            x, image = layer(x, image, place=place, image_place=image_place, bias=bias, first=i == 0)
        return self.norm(x + self.to_image(x + place, image + image_place, image)), image

    def forward(
        self, features: Tensor, prompt: Tensor, bias: Tensor, *, fine: Tensor, middle: Tensor
    ) -> Decoded:
        x, image = self.converse(features.flatten(2).transpose(1, 2), prompt, bias)
        pixels = image.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        pixels = F.gelu(self.up_norm(self.up[0](pixels) + middle))
        score, iou, *tokens = x[:, : 2 + MASKS].split(1, dim=1)  # [B, 1, D] each
        weights = [head(token) for head, token in zip(self.mask_heads, tokens, strict=True)]
        return Decoded(
            tokens=torch.cat(tokens, dim=1),
            weights=torch.cat(weights, dim=1),
            pixels=F.gelu(self.up[1](pixels) + fine),
            iou=self.iou_head(iou).flatten(1).sigmoid(),
            score=self.score_head(score).flatten(),
        )
