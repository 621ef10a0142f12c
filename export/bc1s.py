"""The Neural Engine's layout of the trunk and the text encoder: the same weights, other primitives.

Activations are [B, C, 1, S], channels first and tokens last; a linear layer is a 1x1 convolution; each head
attends by itself, some queries at a time, with keys before queries so that softmax runs along an outer axis.
Tokens stay in the order of windows from the first layer to the last: a layer that sees all of them has its
rotary angles in that order, so nothing is partitioned in between. No value has more than four axes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .backbone import Backbone, Block, to_windows
from .layers import MLP, QUERIES, SelfAttention
from .text import Text, TextBlock

MASKED = -4e4  # the sum of two stays above half precision's -65504


def pointwise(layer: nn.Linear, norm: nn.LayerNorm | None = None) -> nn.Conv2d:
    """A linear layer as a 1x1 convolution, with the scale and shift of the norm before it carried in."""
    made = nn.Conv2d(layer.in_features, layer.out_features, 1)
    assert made.bias is not None
    weight = layer.weight if norm is None else layer.weight * norm.weight
    shift = 0 if norm is None else layer.weight @ norm.bias
    made.weight.copy_(weight[:, :, None, None])
    made.bias.copy_(layer.bias + shift)
    return made


def standardise(x: Tensor, eps: float) -> Tensor:
    """Mean 0 and deviation 1 over the channels of [B, C, 1, S]."""
    x = x - x.mean(dim=1, keepdim=True)
    return x * torch.rsqrt((x * x).mean(dim=1, keepdim=True) + eps)


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary encoding of one head [B, 1, c, S] by angles [1, 1, c, S or more windows of it]."""
    low, high = x.chunk(2, dim=2)
    return x * cos + torch.cat((-high, low), dim=2) * sin


class Attention(nn.Module):
    """Self-attention of [B, C, 1, S], a head and some queries at a time."""

    def __init__(self, old: SelfAttention, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.heads = old.heads
        self.qkv, self.out = pointwise(old.qkv, norm), pointwise(old.out)

    def forward(
        self, x: Tensor, bias: Tensor | None = None, angles: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        rows = self.qkv(x).transpose(1, 2)  # [B, 1, 3 C, S]: once for all heads
        queries, keys, values = (part.chunk(self.heads, dim=2) for part in rows.chunk(3, dim=2))
        seen = [
            self.attend(query, key, value, bias, angles)
            for query, key, value in zip(queries, keys, values, strict=True)
        ]
        return self.out(torch.cat(seen, dim=2).transpose(1, 2))

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        angles: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """One head, [B, 1, c, S] each. `bias` [1, 1, S, S] is of keys by queries."""
        if angles is not None:
            query, key = turned(query, *angles), turned(key, *angles)
        query = query * query.shape[2] ** -0.5
        count = math.ceil(query.shape[3] / QUERIES)
        parts = query.chunk(count, dim=3)
        biases = [None] * len(parts) if bias is None else bias.chunk(count, dim=3)
        seen = []
        for part, some in zip(parts, biases, strict=True):
            logits = key.transpose(2, 3) @ part
            weights = (logits if some is None else logits + some).softmax(dim=2)
            seen.append(value @ weights)
        return torch.cat(seen, dim=3)


class Layer(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, old: Block | TextBlock) -> None:
        super().__init__()
        self.eps = old.attention_norm.eps
        self.attention = Attention(old.attention, old.attention_norm)
        first, second = self.linears(old.mlp)
        self.widen, self.narrow = pointwise(first, old.mlp_norm), pointwise(second)

    @staticmethod
    def linears(mlp: MLP) -> tuple[nn.Linear, nn.Linear]:
        first, second = mlp.layers
        assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
        return first, second

    def mix(self, x: Tensor) -> Tensor:
        """The part after attention."""
        return x + self.narrow(nn.functional.gelu(self.widen(standardise(x, self.eps))))


class TrunkLayer(Layer):
    """A layer of the trunk on [windows, C, 1, w * w]."""

    cos: Tensor
    sin: Tensor

    def __init__(self, old: Block, window: int) -> None:
        super().__init__(old)
        self.everywhere = old.window != window
        for name, table in (("cos", old.cos), ("sin", old.sin)):
            if self.everywhere:
                table = to_windows(table.reshape(1, old.window, old.window, -1), window).flatten(0, 1)
            self.register_buffer(name, table.T[None, None].contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        normed = standardise(x, self.eps)
        if self.everywhere:
            windows, dim, _, tokens = x.shape
            normed = normed.transpose(0, 1).reshape(1, dim, 1, windows * tokens)
            seen = self.attention(normed, angles=(self.cos, self.sin))
            seen = seen.reshape(dim, windows, 1, tokens).transpose(0, 1)
        else:
            seen = self.attention(normed, angles=(self.cos, self.sin))
        return self.mix(x + seen)


class Trunk(nn.Module):
    """Graph `backbone`."""

    position: Tensor

    def __init__(self, old: Backbone) -> None:
        super().__init__()
        self.patch, self.norm = old.patch, old.norm
        windowed = [block.window for block in old.blocks if isinstance(block, Block)]
        self.window = min(windowed)
        self.count = old.grid // self.window
        repeats = -(-old.grid // old.position.shape[1])
        position = old.position.tile(1, repeats, repeats, 1)[:, : old.grid, : old.grid]
        position = to_windows(position, self.window).transpose(1, 2)[:, :, None]
        self.register_buffer("position", position.detach().contiguous(), persistent=False)
        self.layers = nn.ModuleList(TrunkLayer(b, self.window) for b in old.blocks if isinstance(b, Block))

    def windows(self, image: Tensor) -> Tensor:
        """The parts [windows, 3, h, h] of a picture that become windows of tokens, row by row."""
        rows = image.chunk(self.count, dim=2)
        return torch.cat([part for row in rows for part in row.chunk(self.count, dim=3)])

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch(self.windows(image)).flatten(2)[:, :, None] + self.position
        x = standardise(x, self.norm.eps) * self.norm.weight[:, None, None] + self.norm.bias[:, None, None]
        for layer in self.layers:
            x = layer(x)
        n, w, dim = self.count, self.window, x.shape[1]
        x = x.squeeze(2).transpose(1, 2).reshape(n, n, w, w * dim).transpose(1, 2)
        return x.reshape(1, n * n * w * w, dim)


class TextLayer(Layer):
    """A layer of the text encoder on [1, C, 1, T]."""

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        return self.mix(x + self.attention(standardise(x, self.eps), bias))


class Words(nn.Module):
    """Graph `text`."""

    causal: Tensor
    position: Tensor

    def __init__(self, old: Text) -> None:
        super().__init__()
        self.token, self.eps = old.token, old.norm.eps
        length = old.position.shape[0]
        causal = torch.full((length, length), MASKED).tril(-1)  # keys by queries
        self.register_buffer("causal", causal[None, None], persistent=False)
        self.register_buffer(
            "position", old.position.detach().T[None, :, None].contiguous(), persistent=False
        )
        self.layers = nn.ModuleList(TextLayer(b) for b in old.blocks if isinstance(b, TextBlock))
        self.project = pointwise(old.project, old.norm)

    def forward(self, token_ids: Tensor) -> Tensor:
        x = self.token(token_ids).transpose(1, 2)[:, :, None] + self.position
        for layer in self.layers:
            x = layer(x, self.causal)
        return self.project(standardise(x, self.eps)).squeeze(2).transpose(1, 2)


@torch.no_grad()
def bc1s(module: nn.Module) -> nn.Module:
    """The module in the Neural Engine's layout, if it is one of the two that have one; else itself."""
    if isinstance(module, Backbone):
        return Trunk(module).eval()
    return Words(module).eval() if isinstance(module, Text) else module
