"""MIL operators that unpack compressed weights: `constexpr_*`, as of iOS 16 and of iOS 18."""

from __future__ import annotations

import torch
from torch import Tensor

from .mil_operators import ints, number, operator, want
from .mil_values import split_bits


def spread(x: Tensor, shape: torch.Size | list[int]) -> Tensor:
    """One number for each block, repeated over its block."""
    for axis, length in enumerate(shape):
        want(length % x.shape[axis] == 0, "constexpr", f"blocks of {x.shape[axis]} in {length}")
        x = x.repeat_interleave(length // x.shape[axis], axis)
    return x


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """Bytes that hold `count` numbers of so many bits."""
    return torch.from_numpy(split_bits(packed.to(torch.uint8).numpy(), bits, count, signed=False))


@operator("constexpr_affine_dequantize")
def affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: Tensor) -> Tensor:
    shape = [-1 if place == int(axis) else 1 for place in range(quantized_data.ndim)]
    offset, factor = (x.reshape(shape) if x.ndim else x for x in (zero_point, scale))
    return (quantized_data - offset).float() * factor


@operator("constexpr_blockwise_shift_scale")
def blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    shifted = data.float() if offset is None else data.float() - spread(offset, data.shape).float()
    return shifted * spread(scale, data.shape)


@operator("constexpr_lut_to_dense")
def lut_to_dense(
    indices: Tensor, lut: Tensor, shape: Tensor | None = None, vector_axis: Tensor | None = None
) -> Tensor:
    """A palette for all (with `shape`: packed, of iOS 16), or one for each block: lut [..., entries, 1]."""
    if shape is not None:
        sizes = ints(shape)
        count = int(torch.tensor(sizes).prod())
        bits = (lut.numel() - 1).bit_length()
        return lut.flatten()[unpack(indices, bits, count).long()].reshape(sizes)
    want(lut.shape[-1] == 1, "constexpr_lut_to_dense", f"vector_axis {number(vector_axis):g} with vectors")
    blocks, entries = lut.shape[:-2], lut.shape[-2]
    first = torch.arange(0, lut.numel(), entries).reshape(blocks)  # where each block's palette starts
    return lut.flatten()[spread(first, indices.shape) + indices.long()]


@operator("constexpr_sparse_to_dense")
def sparse_to_dense(nonzero_data: Tensor, mask: Tensor, shape: Tensor | None = None) -> Tensor:
    """Zeros but where the mask says; with `shape` it is packed, of iOS 16."""
    if shape is not None:
        sizes = ints(shape)
        mask = unpack(mask, 1, int(torch.tensor(sizes).prod())).reshape(sizes)
    dense = torch.zeros(mask.shape, dtype=nonzero_data.dtype)
    dense[mask != 0] = nonzero_data
    return dense


@operator("constexpr_cast")
def constexpr_cast(source_val: Tensor, output_dtype: str) -> Tensor:
    want(output_dtype in ("fp16", "fp32"), "constexpr_cast", f"output_dtype {output_dtype}")
    return source_val.float()
