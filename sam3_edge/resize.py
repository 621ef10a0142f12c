"""Resizes in numpy, exact: pictures to the model's square, mask logits to the picture's size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BLOCK = 16  # outputs per matrix product: the product stays dense, the slice of the picture small
BAND = 2**19  # pixels of a mask at a time: bounds the copies of a 20-megapixel mask to a few MB


@dataclass(frozen=True)
class Filter:
    """One axis of an antialiased resize: output i is `weights[i] @ x[start[i] :][:taps]`, over 2**bits."""

    start: NDArray[np.int64]  # [m]
    length: NDArray[np.int64]  # [m]
    weights: NDArray[np.float64]  # [m, taps], whole numbers, 0 past `length`
    bits: int

    def block(self, first: int, last: int) -> tuple[slice, NDArray[np.float64]]:
        """Outputs first..last as one matrix [last - first, n], and the n inputs it applies to."""
        low = int(self.start[first])
        high = int((self.start + self.length)[first:last].max())
        matrix = np.zeros((last - first, high - low))
        row, tap = np.nonzero(np.arange(self.weights.shape[1]) < self.length[first:last, None])
        matrix[row, self.start[first:last][row] - low + tap] = self.weights[first:last][row, tap]
        return slice(low, high), matrix / 2**self.bits


def triangle(source: int, target: int) -> Filter:
    """The antialiased bilinear filter for uint8, with the reference's 16-bit fixed-point weights.

    The number of bits is the largest that keeps the biggest weight below 2**15: it differs by axis and size.
    """
    scale = source / target
    support = max(scale, 1.0)
    centre = scale * (np.arange(target) + 0.5)
    start = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    length = np.minimum((centre + support + 0.5).astype(np.int64), source) - start
    tap = np.arange(2 * math.ceil(support) + 1)
    weights = np.maximum(1 - np.abs(tap + start[:, None] - centre[:, None] + 0.5) / support, 0)
    weights *= tap < length[:, None]
    weights /= weights.sum(1, keepdims=True)
    bits = 0
    while bits < 22 and int(0.5 + weights.max() * 2 ** (bits + 1)) < 2**15:
        bits += 1
    return Filter(start, length, np.floor(weights * 2**bits + 0.5), bits)


def resize_picture(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """[H, W, 3] -> [3, size, size], aspect ratio not kept, rounded to uint8 after each axis: x first, then y.

    Equal, bit for bit, to `torch.nn.functional.interpolate(mode="bilinear", antialias=True)` of uint8 on a
    CPU, the official image path. Pillow's filter differs by one level in up to a quarter of all values.
    """
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1))
    across, down = triangle(planes.shape[2], size), triangle(planes.shape[1], size)
    wide = np.empty((3, planes.shape[1], size), np.uint8)
    for i in range(0, size, BLOCK):
        part, matrix = across.block(i, min(i + BLOCK, size))
        wide[:, :, i : i + BLOCK] = rounded(planes[:, :, part].astype(np.float64) @ matrix.T)
    out = np.empty((3, size, size), np.uint8)
    for i in range(0, size, BLOCK):
        part, matrix = down.block(i, min(i + BLOCK, size))
        out[:, i : i + BLOCK] = rounded(matrix @ wide[:, part].astype(np.float64))
    return out


def rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half up, at most 255. Sums of products of whole numbers below 2**53, so nothing was lost before."""
    return np.minimum(values + 0.5, 255)


@dataclass(frozen=True, eq=False)
class Line:
    """One axis of a bilinear resize: output i is `(1 - part[i]) * x[low[i]] + part[i] * x[high[i]]`."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    part: NDArray[np.float32]

    def cut(self, first: int, last: int) -> tuple[int, int]:
        """The outputs that inputs first..last (both included) have a say in: a range."""
        return int(np.searchsorted(self.high, first)), int(np.searchsorted(self.low, last, side="right"))


@lru_cache(maxsize=16)
def line(source: int, target: int) -> Line:
    """Pixel centres on pixel centres (`align_corners=False`), edges repeated; float32, as the reference."""
    scale = np.float32(source) / np.float32(target)
    place = np.maximum((np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    low = np.minimum(place.astype(np.int64), source - 1)
    return Line(low, np.minimum(low + 1, source - 1), (place - low).astype(np.float32))


def upsample(
    logits: NDArray[np.float32], x: Line, y: Line, *, rows: slice, columns: slice
) -> NDArray[np.float32]:
    """One mask [h, w], bilinear, as far as the asked part of the output goes: [rows, columns]."""
    one, right, down = np.float32(1), x.part[columns], y.part[rows, None]
    wide = logits[:, x.low[columns]] * (one - right) + logits[:, x.high[columns]] * right
    out: NDArray[np.float32] = wide[y.low[rows]] * (one - down) + wide[y.high[rows]] * down
    return out


def enlarge(
    logits: NDArray[np.float32] | Sequence[NDArray[np.float32]], height: int, width: int
) -> NDArray[np.bool_]:
    """Mask logits [N, h, w] -> masks [N, height, width]: bilinear, then above 0 (that is, sigmoid above 0.5).

    A blend of values that are all <= 0 is <= 0, one of values that are all > 0 is > 0: only where the four
    differ in sign is it computed, a few pixels along the outline.
    """
    masks = np.zeros((len(logits), height, width), np.bool_)
    for mask, small in zip(masks, logits, strict=True):
        y, x = line(small.shape[0], height), line(small.shape[1], width)
        top, bottom, left, right = window(small, x, y)
        signs = corners(small > 0)
        step = max(BAND // max(right - left, 1), 1)
        for first in range(top, bottom, step):
            part = np.s_[first : min(first + step, bottom), left:right]
            mask[part] = banded(small, signs, x, y, rows=part[0], columns=part[1])
    return masks


def window(logits: NDArray[np.float32], x: Line, y: Line) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of all that the positive values of [h, w] reach; zeros for none."""
    rows, columns = (np.flatnonzero((logits > 0).any(axis)) for axis in (1, 0))
    if not len(rows):
        return 0, 0, 0, 0
    return *y.cut(rows[0], rows[-1]), *x.cut(columns[0], columns[-1])


def corners(above: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """How many of the four values that an output between (i, j) and (i + 1, j + 1) blends are above 0."""
    count = above.astype(np.uint8)
    count += np.concatenate((count[1:], count[-1:]))
    count += np.concatenate((count[:, 1:], count[:, -1:]), axis=1)
    return count


def banded(
    logits: NDArray[np.float32], signs: NDArray[np.uint8], x: Line, y: Line, *, rows: slice, columns: slice
) -> NDArray[np.bool_]:
    """`upsample(...) > 0`, from the same float32 operations in the same order where they are needed."""
    count = signs[y.low[rows]].take(x.low[columns], axis=1)
    out: NDArray[np.bool_] = count == 4
    place = np.flatnonzero((count - np.uint8(1)) < 3)
    down, across = np.divmod(place, count.shape[1])
    right, bottom, one = x.part[columns][across], y.part[rows][down], np.float32(1)
    width, flat = logits.shape[1], logits.ravel()
    x0, x1 = x.low[columns][across], x.high[columns][across]
    y0, y1 = (width * y.low[rows])[down], (width * y.high[rows])[down]
    upper = flat.take(y0 + x0) * (one - right) + flat.take(y0 + x1) * right
    lower = flat.take(y1 + x0) * (one - right) + flat.take(y1 + x1) * right
    out.ravel()[place] = upper * (one - bottom) + lower * bottom > 0
    return out
