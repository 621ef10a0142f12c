"""Attention is judged by whom it falls on: objects find themselves in memories, others find others."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sam3_edge.export.attention_loss import (
    CELLS,
    OBJECT,
    OTHER,
    UNKNOWN,
    WRONG,
    Looks,
    asked,
    attention_loss,
    marks_of,
    share,
    watched,
)
from sam3_edge.export.memory_attention import Bank, MemoryAttention, MemoryRead
from sam3_edge.export.shapes_model import TRACKING_CONFIG

SIDE, DIM = 8, 4
TOKENS = SIDE * SIDE
STILL = (torch.ones(TOKENS, DIM), torch.zeros(TOKENS, DIM))  # no rotation
GAIN = 6.0


def square(left: int, top: int) -> Tensor:
    """A mask [1, 32, 32] of three by three cells."""
    mask = torch.zeros(1, 4 * SIDE, 4 * SIDE)
    mask[:, 4 * top : 4 * top + 12, 4 * left : 4 * left + 12] = 1
    return mask


def tokens(mask: Tensor) -> Tensor:
    """One look on the mask, another off it: [1, T, D]."""
    on = share(mask, SIDE)[..., None]
    return torch.cat((on, 1 - on, torch.zeros(1, TOKENS, DIM - 2)), dim=2)


def look(shown: Tensor, remembered: Tensor, gain: float) -> Looks:
    """A frame that asks a memory of one slot; cells that look alike agree by `gain`."""
    read = MemoryRead(DIM, DIM)
    with torch.no_grad():
        for linear in (read.query, read.key):
            linear.weight.copy_(abs(gain) ** 0.5 * DIM**0.25 * torch.eye(DIM))
            linear.bias.zero_()
        read.query.weight.mul_(math.copysign(1, gain))
    frames = tokens(remembered)
    bank = Bank(frames, torch.zeros(1, 0, DIM), frames, torch.zeros(1, 1, 1, TOKENS), STILL)
    return Looks([(read, tokens(shown), bank, STILL)])


def loss(gain: float, *, marks: Tensor | None = None) -> Tensor:
    """An object that moved by three cells."""
    before, now = square(1, 2), square(4, 2)
    known = marks_of(before, before, SIDE) if marks is None else marks
    return attention_loss(look(now, before, gain), known, now, SIDE, np.random.default_rng(0))


def test_looks_are_told_from_places() -> None:
    """Whoever moved and is found where it was costs nothing; looking at the opposite costs most."""
    even = -math.log(9 / TOKENS) - math.log(1 - 9 / TOKENS)
    assert loss(GAIN).item() == pytest.approx(0, abs=0.05)
    assert loss(0).item() == pytest.approx(even, abs=1e-4)
    assert loss(-GAIN).item() > even + GAIN


def test_it_teaches_queries_and_keys() -> None:
    before, now = square(1, 2), square(4, 2)
    looks = look(now, before, 1.0)
    attention_loss(looks, marks_of(before, before, SIDE), now, SIDE, np.random.default_rng(0)).backward()  # type: ignore[no-untyped-call]
    read = looks.seen[0][0]
    assert read.query.weight.grad is not None and read.key.weight.grad is not None
    assert read.query.weight.grad.abs().max() > 0 and read.key.weight.grad.abs().max() > 0


def test_what_no_memory_shows_is_not_judged() -> None:
    assert loss(-GAIN, marks=torch.full((1, TOKENS), float(UNKNOWN))).item() == 0
    assert loss(-GAIN, marks=torch.full((1, TOKENS), float(OTHER))).item() == 0


def test_memories_are_marked_where_they_are_right() -> None:
    marks = marks_of(square(1, 2), square(2, 2), SIDE).reshape(SIDE, SIDE)
    assert marks[2, 0:5].tolist() == [OTHER, WRONG, OBJECT, OBJECT, WRONG]
    assert (marks == OBJECT).sum() == 6 and (marks == WRONG).sum() == 6
    half = marks_of(square(1, 2), 0.2 * square(1, 2), SIDE)
    assert (half == UNKNOWN).sum() == 9


def test_wrong_memories_are_nobodys_kind() -> None:
    """Attention that falls on them is attention lost, for the object and for what is about it."""
    before = square(1, 2)
    right = marks_of(before, before, SIDE)
    wrong = torch.where(torch.arange(TOKENS) % 2 == 0, WRONG, right)
    assert loss(GAIN, marks=wrong).item() > loss(GAIN, marks=right).item() + 0.5


def test_cells_on_and_about_an_object_are_asked() -> None:
    covered = share(square(1, 2), SIDE)
    cells = asked(covered, SIDE, np.random.default_rng(0))
    assert cells.shape == (1, CELLS) and len(set(cells[0].tolist())) == CELLS
    assert covered.gather(1, cells).sum() == 9
    column = cells[0] % SIDE
    assert column.max() <= 3 + 3  # three cells from the object at most: there are enough


def test_looks_are_noted_only_within() -> None:
    config = replace(TRACKING_CONFIG, image_size=56, window=2, pretrain_size=28)
    attention, cells = MemoryAttention(config), config.grid**2
    angles, nothing = (attention.cos, attention.sin), torch.zeros(1, cells, config.memory_dim)
    bank = Bank(nothing, nothing[:, :0], nothing, torch.zeros(1, 1, 1, cells), angles)
    x = torch.zeros(1, cells, config.dim)
    with watched(attention) as looks:
        attention(x, bank)
    attention(x, bank)
    assert [read for read, *_ in looks.seen] == [attention.layer(0).read, attention.layer(1).read]
