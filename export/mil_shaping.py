"""MIL operators that move values about and compute nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .mil_operators import flag, ints, number, operator, want


@operator("reshape")
def reshape(x: Tensor, shape: Tensor) -> Tensor:
    """A 0 keeps the length of its axis, a -1 takes what is left."""
    return x.reshape([x.shape[axis] if length == 0 else length for axis, length in enumerate(ints(shape))])


@operator("transpose")
def transpose(x: Tensor, perm: Tensor) -> Tensor:
    return x.permute(ints(perm))


@operator("expand_dims")
def expand_dims(x: Tensor, axes: Tensor) -> Tensor:
    rank = x.ndim + axes.numel()
    for axis in sorted(axis % rank for axis in ints(axes)):
        x = x.unsqueeze(axis)
    return x


@operator("squeeze")
def squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    if axes is None:
        return x.squeeze()
    want(all(x.shape[axis] == 1 for axis in ints(axes)), "squeeze", "an axis longer than 1")
    return x.squeeze(ints(axes))


@operator("concat")
def concat(values: tuple[Tensor, ...], axis: Tensor, interleave: Tensor | None = None) -> Tensor:
    """Interleaved: the first rows of all, then the second rows of all."""
    along = int(axis) % values[0].ndim
    if flag(interleave):
        return torch.stack(values, along + 1).flatten(along, along + 1)
    return torch.cat(values, along)


@operator("stack")
def stack(values: tuple[Tensor, ...], axis: Tensor) -> Tensor:
    return torch.stack(values, int(axis))


@operator("split")
def split(
    x: Tensor, axis: Tensor, num_splits: Tensor | None = None, split_sizes: Tensor | None = None
) -> tuple[Tensor, ...]:
    if split_sizes is not None:
        return torch.split(x, ints(split_sizes), int(axis))
    return torch.chunk(x, int(number(num_splits)), int(axis))


@operator("tile")
def tile(x: Tensor, reps: Tensor) -> Tensor:
    return x.tile(ints(reps))


@operator("pad")
def pad(x: Tensor, pad: Tensor, mode: str = "constant", constant_val: Tensor | None = None) -> Tensor:
    """`pad`: before and after each of the last axes, in their order."""
    want(mode == "constant", "pad", f"mode {mode}")
    pairs = torch.tensor(ints(pad)).reshape(-1, 2)
    return F.pad(x, pairs.flip(0).flatten().tolist(), value=number(constant_val))


@operator("slice_by_index")
def slice_by_index(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    """A mask says of each axis: from its start, to its end, or one row of it whose axis goes."""
    steps = [1] * x.ndim if stride is None else ints(stride)
    want(min(steps) > 0, "slice_by_index", "a stride below 1")
    whole_start, whole_end, alone = (
        [False] * x.ndim if mask is None else mask.tolist() for mask in (begin_mask, end_mask, squeeze_mask)
    )
    places: list[slice | int] = []
    for axis, (start, stop) in enumerate(zip(ints(begin), ints(end), strict=True)):
        first = None if whole_start[axis] else start
        last = None if whole_end[axis] else stop
        places.append(start if alone[axis] else slice(first, last, steps[axis]))
    return x[tuple(places)]


@operator("slice_by_size")
def slice_by_size(x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    """A size of -1 is all that follows."""
    pairs = zip(ints(begin), ints(size), strict=True)
    return x[tuple(slice(start, None if count == -1 else start + count) for start, count in pairs)]


@operator("gather")
def gather(
    x: Tensor,
    indices: Tensor,
    axis: Tensor | None = None,
    batch_dims: Tensor | None = None,
    validate_indices: Tensor | None = None,
) -> Tensor:
    """Rows by their numbers; a number below 0 counts from the end, whether or not that is checked."""
    want(number(batch_dims) == 0, "gather", "batch_dims")
    along = int(number(axis)) % x.ndim
    length = x.shape[along]
    want(bool(((indices >= -length) & (indices < length)).all()), "gather", "an index outside the axis")
    rows = torch.index_select(x, along, torch.where(indices < 0, indices + length, indices).flatten().long())
    return rows.reshape(x.shape[:along] + indices.shape + x.shape[along + 1 :])
