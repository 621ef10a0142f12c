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


class MixerBlock(nn.Module):
    """LiteText's convolutional block, folded: neighbours mixed, then an MLP on what stands near."""

    def __init__(self, dim: int, mlp: int, taps: int) -> None:
        super().__init__()
        self.mix, self.near = (nn.Conv1d(dim, dim, taps, padding=taps // 2, groups=dim) for _ in range(2))
        self.mlp = MLP(dim, mlp, dim, gelu=True)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = self.mix(x.mT)
        return x.mT + self.mlp(self.near(x).mT)


class Text(nn.Module):
    """CLIP-style encoder: ids [B, T] -> prompt tokens [B, T, D].

    SAM 3's is causal, so what stands in the padding never reaches a valid token; the prompt's bias hides the
    rest. LiteText's looks both ways: what follows the end of text is hidden from attention, but its first and
    last layers mix it in, so a phrase must be padded to the whole length.
    """

    causal: Tensor
    later: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.token = nn.Embedding(config.text_vocab, config.text_dim)
        self.position = nn.Parameter(torch.zeros(config.text_length, config.text_dim))
        self.blocks = nn.ModuleList(block_of(config, layer) for layer in range(config.text_layers))
        self.norm = nn.LayerNorm(config.text_dim)
        self.project = nn.Linear(config.text_dim, config.dim)
        self.both_ways, self.end = config.text_taps > 0, config.text_vocab - 1
        later = torch.ones(config.text_length, config.text_length).triu(1)
        self.register_buffer("causal", MASKED * later, persistent=False)
        self.register_buffer("later", later, persistent=False)

    def forward(self, token_ids: Tensor) -> Tensor:
        length = token_ids.shape[1]
        x = self.token(token_ids) + self.position[:length]
        bias = self.padding(token_ids) if self.both_ways else self.causal[:length, :length]
        for block in self.blocks:
            x = block(x, bias)
        return self.project(self.norm(x))

    def padding(self, token_ids: Tensor) -> Tensor:
        """The bias [B, 1, 1, T] that hides what follows the end of text."""
        ends = (token_ids == self.end).float()
        return (MASKED * (ends @ self.later))[:, None, None]


def block_of(config: ModelConfig, layer: int) -> nn.Module:
    """LiteText's first and last block mix by convolution, if it has more than one tap; all others attend."""
    if config.text_taps > 1 and layer in (0, config.text_layers - 1):
        return MixerBlock(config.text_dim, config.text_mlp, config.text_taps)
    return TextBlock(config.text_dim, config.text_heads, config.text_mlp)
