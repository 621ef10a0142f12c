"""The primitives of every graph: a target's own layout or spelling of attention is a change in this file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam3_edge.engines.rungs import OBJECTS_AT_ONCE

from . import fused

# Queries attended at once. Without fused attention their logits are written: 1.7 GB for all 5184 at 1008 px.
QUERIES = 1024
LOGIT_BYTES = 6  # fp32 for the softmax, and the fp16 that products read and write
BUDGET: ContextVar[int | None] = ContextVar("attention budget", default=None)


@contextmanager
def attention_budget(size: int) -> Iterator[None]:
    """Within, no attention writes more than so many bytes of logits at once: for a target that lowers."""
    token = BUDGET.set(size)
    try:
        yield
    finally:
        BUDGET.reset(token)


def queries_at_once(batch: int | torch.SymInt, heads: int, keys: int) -> int:
    """How many queries to attend in one product. A batch that is not known yet counts as the most objects."""
    size = BUDGET.get()
    if size is None:
        return QUERIES
    rows = batch if isinstance(batch, int) else OBJECTS_AT_ONCE[-1]
    return max(1, size // (LOGIT_BYTES * rows * heads * keys))


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention over `heads` heads.

    query [B, Q, D], key and value [B, K, D] -> [B, Q, D]. `bias` is added to the logits and broadcasts to
    [B, heads, Q, K]; it is a float, never a boolean mask: every target adds, not all select.
    """
    if fused.fuses(heads, bias):
        return fused.multi_head(query, key, value, heads, bias)
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    most = queries_at_once(q.shape[0], heads, int(k.shape[2]))
    if q.shape[2] <= most:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)
    parts = q.chunk(math.ceil(q.shape[2] / most), dim=2)
    biases = [bias] * len(parts)
    if bias is not None and bias.shape[-2] > 1:
        biases = list(bias.chunk(len(parts), dim=-2))
    rows = [
        F.scaled_dot_product_attention(part, k, v, attn_mask=some)
        for part, some in zip(parts, biases, strict=True)
    ]
    return torch.cat(rows, dim=2).transpose(1, 2).flatten(2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> Tensor:
    """Rotary position encoding of x [B, N, D] by angles [N, D / heads], in half layout.

    The reference pairs neighbouring channels; `checkpoint` permutes the rows of Wq and Wk once so that
    channel i pairs with channel i + half, which needs two slices instead of a strided gather.
    """
    if fused.FUSED.get():
        return fused.rotary(x, cos, sin, heads)
    x = x.unflatten(-1, (heads, -1))
    low, high = x.chunk(2, dim=-1)
    turned = torch.cat((-high, low), dim=-1)
    return (x * cos[:, None] + turned * sin[:, None]).flatten(2)


def rotary_angles(
    side: int, head_dim: int, scale: float, theta: float = 10000.0, *, start: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Cosine and sine [side * side, head_dim] of axial 2-D rotary encoding, x frequencies before y.

    Places along a side are `start` + `scale` * i.
    """
    frequencies = theta ** -(torch.arange(0, head_dim // 2, 2, dtype=torch.float64) / (head_dim // 2))
    place = torch.arange(side, dtype=torch.float64) * scale + start
    y, x = torch.meshgrid(place, place, indexing="ij")
    half = torch.cat([x.reshape(-1, 1) * frequencies, y.reshape(-1, 1) * frequencies], dim=1)
    angles = torch.cat([half, half], dim=1)
    return angles.cos().float(), angles.sin().float()


def sine_position(x: Tensor, width: int) -> Tensor:
    """DETR's encoding (T = 10000) of x in [0, 1]: [...] -> [..., width], sines and cosines interleaved."""
    frequencies = 10000.0 ** (-2 * torch.arange(width // 2, device=x.device) / width)
    angles = x[..., None] * (2 * math.pi) * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


def grid_position(side: int, dim: int) -> Tensor:
    """The constant position encoding [side * side, dim] of a feature map, y half before x half."""
    place = sine_position(torch.arange(1, side + 1) / (side + 1e-6), dim // 2)
    y, x = place[:, None].expand(-1, side, -1), place[None].expand(side, -1, -1)
    return torch.cat((y, x), dim=-1).flatten(0, 1)


def pooled(tokens: Tensor, side: int, pool: int) -> Tensor:
    """Means over squares of `pool` x `pool` cells: [side * side, D] -> [(side / pool) ** 2, D]."""
    cells = tokens.reshape(side // pool, pool, side // pool, pool, -1)
    return cells.mean(dim=(1, 3)).flatten(0, 1)


def inverse_sigmoid(x: Tensor, eps: float = 1e-3) -> Tensor:
    """log(x / (1 - x)) with both sides kept above eps."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


class SelfAttention(nn.Module):
    """Self-attention with Q, K and V in one product; optionally rotary."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(
        self, x: Tensor, bias: Tensor | None = None, angles: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        if angles is not None:
            query, key = (rotate(t, *angles, self.heads) for t in (query, key))
        return self.out(attend(query, key, value, self.heads, bias))


class Attention(nn.Module):
    """Attention whose query, key and value come from different places; `inner` is its own width."""

    def __init__(self, dim: int, heads: int, inner: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(dim, inner or dim) for _ in range(3))
        self.out = nn.Linear(inner or dim, dim)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        return self.out(attend(self.query(query), self.key(key), self.value(value), self.heads, bias))


class MLP(nn.Module):
    """Linear layers with an activation between them."""

    def __init__(self, *widths: int, gelu: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.activation = nn.GELU() if gelu else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of [B, C, H, W]."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FusionLayer(nn.Module):
    """Pre-norm self-attention, cross-attention, MLP: the layer of the exemplar and of the detector's encoder.

    `position` goes to queries and keys of self-attention, `other_position` to the keys of cross-attention.
    """

    def __init__(self, dim: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.self_norm, self.cross_norm, self.mlp_norm = (nn.LayerNorm(dim) for _ in range(3))
        self.self_attention = Attention(dim, heads)
        self.cross_attention = Attention(dim, heads)
        self.mlp = MLP(dim, mlp, dim)

    def forward(
        self,
        x: Tensor,
        other: Tensor,
        *,
        position: Tensor | None = None,
        bias: Tensor | None = None,
        other_position: Tensor | None = None,
        other_bias: Tensor | None = None,
    ) -> Tensor:
        normed = self.self_norm(x)
        placed = normed if position is None else normed + position
        x = x + self.self_attention(placed, placed, normed, bias)
        key = other if other_position is None else other + other_position
        x = x + self.cross_attention(self.cross_norm(x), key, other, other_bias)
        return x + self.mlp(self.mlp_norm(x))
