"""Memory attention: the features of a frame read what is remembered of each object.

A bank has a fixed number of slots. Attention has no order and every slot is rotated alike, so any memory may
lie in any slot; the bias makes an empty one weigh exactly nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sam3_edge.spec import ModelConfig

from .layers import MLP, attend, grid_position, pooled, rotary_angles, rotate

Angles = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Slots:
    """What lies in the slots, when it is from, and which of them count: `time` and `bias` [B, slots]."""

    values: Tensor
    time: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Bank:
    """What is remembered of B objects, as tokens of the memory's width M.

    `frames` [B * S, T, M] and `pointers` [B, P * D / M, M] have their positions added and make keys;
    `values` [B, S * T + P * D / M, M] are the same without; `bias` [B, 1, 1, S * T + P * D / M]. `angles`
    rotate a frame's keys.
    """

    frames: Tensor
    pointers: Tensor
    values: Tensor
    bias: Tensor
    angles: Angles


class RotaryAttention(nn.Module):
    """Self-attention over the grid with one head as wide as the model."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x: Tensor, angles: Angles) -> Tensor:
        query, key = rotate(self.query(x), *angles, 1), rotate(self.key(x), *angles, 1)
        return self.out(attend(query, key, self.value(x), 1))


class MemoryRead(nn.Module):
    """Attention of the grid to a bank, with one head; pointers have no place, so they are not rotated."""

    def __init__(self, dim: int, memory_dim: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(memory_dim, dim)
        self.value: nn.Module = nn.Linear(memory_dim, dim)
        self.out = nn.Linear(dim, dim)

    def frame_keys(self, bank: Bank) -> Tensor:
        """Keys [B, S * T, D] of what is remembered of frames, each rotated to its place."""
        frames = rotate(self.key(bank.frames), *bank.angles, 1)
        slots = bank.values.shape[1] - bank.pointers.shape[1]
        return frames.reshape(-1, slots, frames.shape[-1])

    def queries(self, x: Tensor, angles: Angles) -> Tensor:
        """What every cell of the grid asks: [B, T, D]."""
        return rotate(self.query(x), *angles, 1)

    def forward(self, x: Tensor, bank: Bank, angles: Angles) -> Tensor:
        keys = torch.cat((self.frame_keys(bank), self.key(bank.pointers)), dim=1)
        return self.out(attend(self.queries(x, angles), keys, self.value(bank.values), 1, bank.bias))

    @torch.no_grad()
    def fold(self) -> None:
        """Carry Wv past the softmax into Wo, in place: 64-wide products over 52 000 tokens instead of 256.

        Exact because there is one head, values carry no position, and the weights sum to one: so does bv's.
        """
        if not isinstance(self.value, nn.Linear):
            return
        both = nn.Linear(self.value.in_features, self.out.out_features)
        both.weight.copy_(self.out.weight @ self.value.weight)
        both.bias.copy_(self.out.weight @ self.value.bias + self.out.bias)
        self.value, self.out = nn.Identity(), both


class MemoryLayer(nn.Module):
    """Pre-norm: self-attention, attention to the bank, MLP."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.dim
        self.self_norm, self.read_norm, self.mlp_norm = (nn.LayerNorm(dim) for _ in range(3))
        self.self_attention = RotaryAttention(dim)
        self.read = MemoryRead(dim, config.memory_dim)
        self.mlp = MLP(dim, config.memory_mlp, dim)

    def look(self, x: Tensor, angles: Angles) -> Tensor:
        """The part that knows no object."""
        return x + self.self_attention(self.self_norm(x), angles)

    def remember(self, x: Tensor, bank: Bank, angles: Angles) -> Tensor:
        """The part that differs from object to object."""
        x = x + self.read(self.read_norm(x), bank, angles)
        return x + self.mlp(self.mlp_norm(x))


class MemoryAttention(nn.Module):
    """All layers, and the positions of what is remembered."""

    cos: Tensor
    sin: Tensor
    place: Tensor
    memory_cos: Tensor
    memory_sin: Tensor
    memory_place: Tensor
    rows: Tensor
    rates: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, grid = config.dim, config.grid
        self.layers = nn.ModuleList(MemoryLayer(config) for _ in range(config.memory_layers))
        self.norm = nn.LayerNorm(dim)
        self.memory_time = nn.Parameter(torch.zeros(config.memory_times, 1, 1, config.memory_dim))
        self.pointer_time = nn.Linear(dim, config.memory_dim)
        cos, sin = rotary_angles(grid, dim, 1.0)
        # A pooled token lies in the middle of its cells and counts for all of them.
        self.pool = pool = config.memory_pool
        memory_cos, memory_sin = rotary_angles(grid // pool, dim, pool, start=(pool - 1) / 2)
        self.count_bias = 2 * math.log(pool)
        pairs = torch.arange(dim // 2).div(2, rounding_mode="floor")
        constants = {
            "cos": cos,
            "sin": sin,
            "place": 0.1 * grid_position(grid, dim),
            "memory_cos": memory_cos,
            "memory_sin": memory_sin,
            "memory_place": pooled(grid_position(grid, config.memory_dim), grid, pool),
            "rows": torch.arange(config.memory_times, dtype=torch.float32),
            "rates": 10000.0 ** (-2 * pairs / (dim // 2)),
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)

    def layer(self, index: int) -> MemoryLayer:
        """One layer, with its type."""
        found = self.layers[index]
        assert isinstance(found, MemoryLayer)
        return found

    def memory_angles(self) -> Angles:
        """Of what is remembered: where nothing is pooled the grid's own, so that graphs hold them once."""
        return (self.memory_cos, self.memory_sin) if self.pool > 1 else (self.cos, self.sin)

    def queries(self, features: Tensor) -> Tensor:
        """Features [1, D, G, G] -> [1, T, D]: everything before the first look at a memory."""
        x = features.flatten(2).transpose(1, 2) + self.place
        return self.layer(0).look(x, (self.cos, self.sin))

    def bank(self, frames: Slots, pointers: Slots) -> Bank:
        """The bank from memories [B, S, T, M] and pointers [B, P, D]."""
        tokens, width = frames.values.shape[2:]
        split = pointers.values.shape[2] // width
        values = pointers.values.reshape(-1, pointers.values.shape[1] * split, width)
        row = nn.functional.relu(1 - (frames.time[..., None].float() - self.rows).abs())  # one-hot
        time = (row @ self.memory_time.flatten(1))[:, :, None]
        angle = pointers.time[..., None] * self.rates
        age = self.pointer_time(torch.cat((angle.sin(), angle.cos()), dim=-1))
        counts = frames.bias + self.count_bias if self.count_bias else frames.bias
        bias = (
            counts[..., None].expand(-1, -1, tokens).flatten(1),
            pointers.bias[..., None].expand(-1, -1, split).flatten(1),
        )
        return Bank(
            frames=(frames.values + self.memory_place + time).flatten(0, 1),
            pointers=values + age[:, :, None].expand(-1, -1, split, -1).flatten(1, 2),
            values=torch.cat((frames.values.flatten(1, 2), values), dim=1),
            bias=torch.cat(bias, dim=1)[:, None, None],
            angles=self.memory_angles(),
        )

    def forward(self, queries: Tensor, bank: Bank) -> Tensor:
        """Queries [1, T, D] of the frame and a bank of B objects -> features of each object [B, T, D]."""
        angles = (self.cos, self.sin)
        x = queries.expand(bank.values.shape[0], -1, -1)
        for i in range(len(self.layers)):
            x = self.layer(i).remember(self.layer(i).look(x, angles) if i else x, bank, angles)
        return self.norm(x)

    def fold(self) -> None:
        """Apply the exact weight folds, in place."""
        for i in range(len(self.layers)):
            self.layer(i).read.fold()
