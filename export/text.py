"""Graph `text`: token ids to prompt tokens. Run once per phrase, never in the frame loop."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sam3_edge.spec import MASKED, ModelConfig

from .layers import MLP, SelfAttention


class TextBlock(nn.Module):
    """Pre-norm causal transformer block."""

    def __init__(self, dim: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, heads)
        self.mlp = MLP(dim, mlp, dim, gelu=True)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), bias)
        return x + self.mlp(self.mlp_norm(x))


class Text(nn.Module):
    """CLIP-style encoder: ids [B, T] -> prompt tokens [B, T, D].

    Causal, so what stands in the padding never reaches a valid token; the prompt's bias hides the rest.
    """

    causal: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.token = nn.Embedding(config.text_vocab, config.text_dim)
        self.position = nn.Parameter(torch.zeros(config.text_length, config.text_dim))
        self.blocks = nn.ModuleList(
            TextBlock(config.text_dim, config.text_heads, config.text_mlp) for _ in range(config.text_layers)
        )
        self.norm = nn.LayerNorm(config.text_dim)
        self.project = nn.Linear(config.text_dim, config.dim)
        causal = torch.full((config.text_length, config.text_length), MASKED).triu(1)
        self.register_buffer("causal", causal, persistent=False)

    def forward(self, token_ids: Tensor) -> Tensor:
        length = token_ids.shape[1]
        x = self.token(token_ids) + self.position[:length]
        for block in self.blocks:
            x = block(x, self.causal[:length, :length])
        return self.project(self.norm(x))
