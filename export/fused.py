"""ONNX Runtime's own operators for attention and rotary positions, which write no logits to memory.

Only ONNX Runtime has them, so graphs are spelled with them where `fused_operators` says so: within it modules
are lowered, not run. One pass over the keys in blocks that fit the cache takes the place of product, softmax
and product: at 1008 px 0.1 GB instead of 1.7 GB of logits in a global layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

DOMAIN = "com.microsoft"
FUSED: ContextVar[bool] = ContextVar("fused operators", default=False)


@contextmanager
def fused_operators() -> Iterator[None]:
    """Within, attention and rotations that ONNX Runtime has an operator for are spelled with it."""
    token = FUSED.set(True)
    try:
        yield
    finally:
        FUSED.reset(token)


def fuses(heads: int, bias: Tensor | None) -> bool:
    """Whether the operator says it: it takes no bias, but with one head a bias of keys is a channel."""
    return FUSED.get() and (bias is None or (heads == 1 and bias.shape[-2] == 1))


def operator(name: str, inputs: Sequence[Tensor], shape: Sequence[int], **attributes: Any) -> Tensor:
    """A node of ONNX Runtime's own domain."""
    found: Tensor = torch.onnx.ops.symbolic(
        f"{DOMAIN}::{name}", inputs, attributes, dtype=inputs[0].dtype, shape=shape, version=1
    )
    return found


def multi_head(query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None) -> Tensor:
    """`layers.attend` as one operator.

    A bias [B, 1, 1, K] is one more channel of the keys, beside a one of the queries: (q, 1) . (k, b) is
    q . k + b, all of it times the scale, so the one is its inverse.
    """
    shape, width = (query.shape[0], query.shape[1], value.shape[2]), query.shape[2]
    scale = (width / heads) ** -0.5
    if bias is not None:
        one = torch.full_like(query[..., :1], 1 / scale)
        column = bias.flatten(1)[..., None].expand(key.shape[0], -1, -1)
        query, key = torch.cat((query, one), dim=2), torch.cat((key, column), dim=2)
    return operator("MultiHeadAttention", (query, key, value), shape, num_heads=heads, scale=scale)


def rotary(x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> Tensor:
    """`layers.rotate` as one operator: it wants the half of the angles, which the other half repeats."""
    half = cos.shape[1] // 2
    places = torch.arange(x.shape[1]).expand(x.shape[0], -1)
    return operator("RotaryEmbedding", (x, places, cos[:, :half], sin[:, :half]), x.shape, num_heads=heads)
